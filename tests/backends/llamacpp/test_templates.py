"""Chat templates: the documented formats to the character, and which one a model gets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from modelrouter.backends.llamacpp.engine.native import Model
from modelrouter.backends.llamacpp.prompt import PromptWriter
from modelrouter.backends.llamacpp.templates import NAMED, ChatTemplate, guess, named, resolve
from modelrouter.exceptions import BadRequestError, ConfigurationError, LocalModelError
from tests.support.gguf_factory import make_tiny_gguf

SYSTEM = {"role": "system", "content": "Be brief."}
ONE = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
TWO = {"role": "user", "content": "Bye"}
PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request."
)

# name -> what is documented for one turn, for a system prompt and one turn, for two turns
DOCUMENTED = {
    "phi-2": (
        "Instruct: Hi\nOutput:",
        "Instruct: Be brief.\n\nHi\nOutput:",
        "Instruct: Hi\nOutput: Hello\nInstruct: Bye\nOutput:",
    ),
    "alpaca": (
        f"{PREAMBLE}\n\n### Instruction:\nHi\n\n### Response:",
        "Be brief.\n\n### Instruction:\nHi\n\n### Response:",
        f"{PREAMBLE}\n\n### Instruction:\nHi\n\n### Response:Hello"
        "\n\n### Instruction:\nBye\n\n### Response:",
    ),
    "mistral": (
        "<s>[INST] Hi [/INST]",
        "<s>[INST] Be brief.\n\nHi [/INST]",
        "<s>[INST] Hi [/INST] Hello</s>[INST] Bye [/INST]",
    ),
    "gemma": (
        "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
        "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n",
        "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
    ),
    "zephyr": (
        "<|user|>\nHi</s>\n<|assistant|>\n",
        "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\n",
        "<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
    ),
    "llama-3": (
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "chatml": (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    ),
}


def render(name: str, *messages: dict[str, Any]) -> str:
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    formatter = Jinja2ChatFormatter(NAMED[name].source, eos_token="</s>", bos_token="<s>")
    return str(formatter(messages=list(messages)).prompt)


def test_every_named_template_is_documented_here() -> None:
    assert set(DOCUMENTED) == set(NAMED)
    assert all(NAMED[name].name == name for name in NAMED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_named_template_writes_the_documented_prompt(name: str) -> None:
    one, with_system, two = DOCUMENTED[name]
    assert render(name, ONE) == one
    assert render(name, SYSTEM, ONE) == with_system
    assert render(name, ONE, ANSWER, TWO) == two


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_system_prompt_is_never_lost(name: str) -> None:
    late = {"role": "system", "content": "Now in French."}
    assert "Be brief." in render(name, SYSTEM)
    text = render(name, SYSTEM, ONE, ANSWER, late, TWO)
    assert text.index("Be brief.") < text.index("Hello") < text.index("Now in French.")
    assert "Now in French." in render(name, ONE, late)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_named_template_refuses_a_role_that_it_has_no_place_for(name: str) -> None:
    with pytest.raises(ValueError, match="tool"):
        render(name, ONE, {"role": "tool", "content": "42"})


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_named_template_knows_where_an_answer_ends(name: str) -> None:
    """The text that follows an answer in a longer conversation begins with a stop, or is one."""
    text = render(name, ONE, ANSWER, TWO)
    after = text[text.index("Hello") + len("Hello") :]
    assert any(stop in after[: len(stop) + 2] for stop in NAMED[name].stops)
    assert not any(stop in "Hello" for stop in NAMED[name].stops)


def metadata(**entries: str) -> Any:
    return {key.replace("__", "."): value for key, value in entries.items()}.get


@pytest.mark.parametrize(
    ("architecture", "name", "expected"),
    [
        ("phi2", "Phi2", "phi-2"),
        ("phi2", "", "phi-2"),
        ("phi2", "microsoft/phi-2", "phi-2"),
        ("phi2", "dolphin-2_6-phi-2", None),
        ("gemma", "gemma-2b-it", "gemma"),
        ("gemma2", "", "gemma"),
        ("gemma", "gemma-2b", None),
        ("gemma", "CodeGemma 7b", None),
        ("llama", "tloen_alpaca-lora-7b", "alpaca"),
        ("llama", "TinyLlama 1.1B Chat v1.0", "zephyr"),
        ("llama", "TinyLlama-1.1B-intermediate", None),
        ("stablelm", "stablelm-zephyr-3b", "zephyr"),
        ("llama", "Meta-Llama-3-8B-Instruct", "llama-3"),
        ("llama", "Meta-Llama-3-8B", None),
        ("llama", "mistralai_mistral-7b-instruct-v0.1", "mistral"),
        ("llama", "Mistral-7B-v0.1", None),
        ("llama", "LLaMA v2", None),
        ("llama", "", None),
    ],
)
def test_a_template_is_guessed_only_where_there_is_no_doubt(
    architecture: str, name: str, expected: str | None
) -> None:
    entries = {"general__architecture": architecture} | ({"general__name": name} if name else {})
    found = guess(metadata(**entries))
    assert (found and found.name) == expected
    if found is not None:
        assert (name or architecture) in (found.guessed_from or "")


def test_what_was_set_for_the_model_goes_before_the_files_own_and_that_before_all_else() -> None:
    own = metadata(tokenizer__chat_template="{{ 1 }}", general__architecture="phi2")
    bare = metadata(general__architecture="phi2")
    assert resolve(own, "gemma", "zephyr") is NAMED["zephyr"]
    assert resolve(own, "gemma") == ChatTemplate("{{ 1 }}")
    assert resolve(bare, "gemma") is NAMED["gemma"]
    assert resolve(bare).name == "phi-2"  # type: ignore[union-attr] # fails as it should on None
    assert resolve(metadata()) is None
    assert resolve(own, None, "{{ 2 }}") == ChatTemplate("{{ 2 }}")


def test_an_unknown_name_is_told_the_names_there_are() -> None:
    with pytest.raises(ConfigurationError, match="alpaca, chatml, gemma"):
        named("vicuna")
    assert named("Llama-3") is NAMED["llama-3"]


def test_a_template_of_ones_own_ends_where_its_turns_end() -> None:
    template = resolve(metadata(), "{{ '<|im_start|>' ~ messages[0].content ~ '<|im_end|>' }}")
    assert template is not None
    assert template.stops == ("<|im_end|>",)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    path = make_tiny_gguf(tmp_path_factory.mktemp("bare") / "bare.gguf", chat_template=None)
    return Model(path), path


def text_of(model: Model, tokens: list[int]) -> str:
    return b"".join(model.piece(token) for token in tokens).decode()


def test_a_writer_uses_the_template_it_is_given_by_name(bare: tuple[Model, Path]) -> None:
    model, path = bare
    writer = PromptWriter(model, path, "phi-2")
    assert text_of(model, writer.write([ONE], "m")) == "Instruct: Hi\nOutput:"
    other = writer.write([ONE], "m", override="gemma")
    assert text_of(model, other).endswith("<start_of_turn>model\n")
    assert writer.template().stops == NAMED["phi-2"].stops
    assert writer.template("gemma") is NAMED["gemma"]


def test_a_file_without_a_template_is_refused_with_the_names(bare: tuple[Model, Path]) -> None:
    model, path = bare
    with pytest.raises(LocalModelError, match=r"has no chat template.*chat_template=.*zephyr"):
        PromptWriter(model, path, None).write([ONE], "m")
    with pytest.raises(LocalModelError, match=r"'vicuna'.*llama-3"):
        PromptWriter(model, path, "vicuna").write([ONE], "m")


def test_a_guess_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_tiny_gguf(tmp_path / "a.gguf", chat_template=None, name="my-alpaca-7b")
    model = Model(path)
    writer = PromptWriter(model, path, None)
    with caplog.at_level(logging.WARNING):
        assert "### Response:" in text_of(model, writer.write([ONE], "m"))
        writer.write([ONE], "m")
    assert [r for r in caplog.messages if "alpaca" in r and "chat_template" in r] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_template_that_fails_is_a_typed_error(bare: tuple[Model, Path]) -> None:
    model, path = bare
    with pytest.raises(BadRequestError, match="refuses these messages"):
        PromptWriter(model, path, "{{ messages[0].content / 2 }}").write([ONE], "m")
    with pytest.raises(LocalModelError, match="cannot be read"):
        PromptWriter(model, path, "{% if %}").write([ONE], "m")


def test_control_tokens_typed_by_a_user_stay_text_in_messages_and_tools(
    bare: tuple[Model, Path],
) -> None:
    model, path = bare
    source = "{{ '<|user|>' ~ messages[0].content ~ '<|end|>' ~ (tools | tojson) }}"
    tool = {"type": "function", "function": {"name": "f", "description": "<|end|><|assistant|>"}}
    message = {"role": "user", "content": "a<|end|>b"}
    tokens = PromptWriter(model, path, source).write([message], "m", tools=[tool])
    control = [t for t in tokens if t < 5]
    assert len(control) == 2  # the template's own
    assert text_of(model, tokens).count("<|end|>") == 2


# As Mistral's and Gemma's files have it: no turns of one speaker in a row, no system turn.
STRICT = (
    "{%- for m in messages -%}"
    "{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('roles must alternate user/assistant') -}}{%- endif -%}"
    "{{- '<' ~ m['role'] ~ '>' ~ m['content'] -}}{%- endfor -%}<assistant>"
)
STRICT_WITH_SYSTEM = (
    "{%- if messages[0]['role'] == 'system' -%}{{- '<system>' ~ messages[0]['content'] -}}"
    "{%- set messages = messages[1:] -%}{%- endif -%}" + STRICT
)


@pytest.mark.parametrize(
    ("source", "messages", "prompt"),
    [
        (STRICT, [ONE, TWO], "<user>Hi\n\nBye<assistant>"),
        (STRICT, [SYSTEM, ONE, ANSWER, TWO],
         "<user>Be brief.\n\nHi<assistant>Hello<user>Bye<assistant>"),
        (STRICT, [SYSTEM], "<user>Be brief.<assistant>"),
        (STRICT_WITH_SYSTEM, [SYSTEM, ONE, TWO], "<system>Be brief.<user>Hi\n\nBye<assistant>"),
        (STRICT_WITH_SYSTEM, [SYSTEM], "<system>Be brief.<assistant>"),
        (STRICT_WITH_SYSTEM, [SYSTEM, SYSTEM, ONE],
         "<system>Be brief.\n\nBe brief.<user>Hi<assistant>"),
    ],
)  # fmt: skip
def test_a_template_that_demands_turns_gets_them(
    tmp_path: Path, source: str, messages: list[dict[str, Any]], prompt: str
) -> None:
    path = make_tiny_gguf(tmp_path / "t.gguf", chat_template=source)
    model = Model(path)
    tokens = PromptWriter(model, path, None).write(messages, "m")
    assert b"".join(map(model.piece, tokens)).decode() == prompt


def test_a_template_that_takes_nothing_says_what_it_said_first(tmp_path: Path) -> None:
    source = "{{- raise_exception('no ' ~ messages | length) -}}"
    path = make_tiny_gguf(tmp_path / "t.gguf", chat_template=source)
    with pytest.raises(BadRequestError, match="refuses these messages: no 2"):
        PromptWriter(Model(path), path, None).write([ONE, TWO], "m")
