"""Every family's architecture and tokenizer, for real, and its prompt to the character."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from modelrouter.backends.llamacpp import LlamaCppBackend
from modelrouter.backends.llamacpp.engine.native import Model
from modelrouter.backends.llamacpp.prompt import PromptWriter
from modelrouter.catalog.builtin import builtin_fields
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import ModelFileError
from tests.backends.llamacpp.conftest import ask
from tests.support.gguf_families import FAMILIES, make_family_gguf

ARCHITECTURES: dict[str, str] = {
    "phi-2": "phi2",
    "mistral-7b": "llama",
    "gemma-2b": "gemma",
    "gemma-7b": "gemma",
    "tinyllama-1.1b": "llama",
    "alpaca-7b": "llama",
    "llama-3-8b": "llama",
    "llama-3.2-3b": "llama",
    "gemma-3-1b": "gemma3",
    "gemma-3-4b": "gemma3",
    "qwen3-4b": "qwen3",
    "phi-4-mini": "phi3",
    "smollm2-1.7b": "llama",
}
"""The architecture that each local model of the catalog is driven through the engine with here."""

PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request."
)
PHI_4_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEMPLATES = {"qwen3-4b": "chatml", "smollm2-1.7b": "chatml", "phi-4-mini": PHI_4_TEMPLATE}
"""For families whose files always have a template of their own, which is not known from their name.
What is written here is the documented form of a plain turn."""

# What is documented for one turn, with the token that the tokenizer puts first, where it puts one,
# and the space that SentencePiece puts before a text.
PROMPTS = {
    "phi-2": "Instruct: Hi there\nOutput:",
    "mistral-7b": "<s> [INST] Hi there [/INST]",
    "gemma-2b": "<bos><start_of_turn>user\nHi there<end_of_turn>\n<start_of_turn>model\n",
    "tinyllama-1.1b": "<s> <|user|>\nHi there</s> \n<|assistant|>\n",
    "alpaca-7b": f"<s> {PREAMBLE}\n\n### Instruction:\nHi there\n\n### Response:",
    "llama-3-8b": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "qwen3-4b": "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n",
    "phi-4-mini": "<|user|>Hi there<|end|><|assistant|>",
}
PROMPTS |= {
    "gemma-7b": PROMPTS["gemma-2b"],
    "gemma-3-1b": PROMPTS["gemma-2b"],
    "gemma-3-4b": PROMPTS["gemma-2b"],
    "llama-3.2-3b": PROMPTS["llama-3-8b"],
    "smollm2-1.7b": PROMPTS["qwen3-4b"],
}
LONG = "Tell me in a few words what the sea is like in the morning, and who walks along the shore."


@pytest.fixture(scope="module", params=ARCHITECTURES)
def card(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    name = request.param
    path = make_family_gguf(tmp_path_factory.mktemp("families") / f"{name}.gguf", name)
    return ModelCard.local(path, name=name, chat_template=TEMPLATES.get(name))


def written(model: Model, tokens: list[int]) -> str:
    """The tokens as text, control tokens by their names."""
    return b"".join(
        model.piece(token) or model.c.llama_vocab_get_text(model.vocab, token) for token in tokens
    ).decode()


def test_every_local_model_of_the_catalog_is_here() -> None:
    local = {name for name, fields in builtin_fields().items() if "file" in fields}
    assert set(ARCHITECTURES) == set(PROMPTS) == local
    assert {card: family.architecture for card, family in FAMILIES.items()} == ARCHITECTURES


def test_the_prompt_is_the_documented_one(card: ModelCard) -> None:
    assert card.path is not None
    model = Model(card.path)
    writer = PromptWriter(model, card.path, None)
    message = {"role": "user", "content": "Hi there"}
    tokens = writer.write([message], card.name, override=card.chat_template)
    assert written(model, tokens) == PROMPTS[card.name]
    # The markers are tokens of their own, not their letters.
    markers = [m for m in dict.fromkeys(FAMILIES[card.name].markers) if m in PROMPTS[card.name]]
    for marker in markers:
        (token,) = model.tokenize(marker, special=True)
        assert tokens.count(token) == PROMPTS[card.name].count(marker)


def test_an_answer_ends_at_the_familys_marker(card: ModelCard) -> None:
    assert card.path is not None
    model = Model(card.path)
    (token,) = model.tokenize(FAMILIES[card.name].ends_turn, special=True)
    assert model.ends(token)


def test_it_answers_whole_streamed_and_again(card: ModelCard, trusting: LlamaCppBackend) -> None:
    request = ask(card, LONG, max_tokens=12)
    whole = trusting.complete(request)
    assert 0 < whole.usage.completion_tokens <= 12
    chunks = list(trusting.stream(request))
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks)
    again = trusting.complete(request)
    assert whole.text == streamed == again.text
    # All but the last token of the prompt was read before.
    reused = again.usage.prompt_tokens_details["cached_tokens"]
    assert reused >= again.usage.prompt_tokens - 1


def test_a_longer_conversation_begins_where_the_last_one_ended(
    card: ModelCard, trusting: LlamaCppBackend
) -> None:
    first = ask(card, LONG, max_tokens=8)
    reply = trusting.complete(first)
    messages = [
        *first.messages,
        {"role": "assistant", "content": reply.text},
        {"role": "user", "content": "And in the evening?"},
    ]
    longer = trusting.complete(dataclasses.replace(first, messages=messages))
    reused = longer.usage.prompt_tokens_details["cached_tokens"]
    assert reused >= 30  # most of the first turn, whatever its template


def test_several_at_once_answer_as_each_alone(card: ModelCard, trusting: LlamaCppBackend) -> None:
    questions = [f"{i} and the {'next ' * i}one?" for i in range(5)]
    alone = [trusting.complete(ask(card, q, max_tokens=10)).text for q in questions]
    together = [""] * len(questions)

    def answer(i: int) -> None:
        together[i] = trusting.complete(ask(card, questions[i], max_tokens=10)).text

    threads = [threading.Thread(target=answer, args=(i,)) for i in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_an_architecture_that_llama_cpp_does_not_know_is_a_typed_error(
    tmp_path: Path, shared_backend: LlamaCppBackend
) -> None:
    path = make_family_gguf(tmp_path / "new.gguf", "alpaca-7b", architecture="llama9")
    with pytest.raises(ModelFileError, match=r"llama9.*pip install --upgrade llama-cpp-python"):
        shared_backend.complete(ask(ModelCard.local(path), "Hi"))
