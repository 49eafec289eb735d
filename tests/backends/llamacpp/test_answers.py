"""What comes back: the right text, exact counts, the right reason to stop, or a typed refusal."""

from __future__ import annotations

import json
from contextlib import closing

import llama_cpp
import pytest

from modelrouter.backends.base import Backend, Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import BadRequestError, ConfigurationError, LocalModelError
from tests.backends.llamacpp.conftest import ask
from tests.support.gguf_factory import MARKERS, make_chain_gguf, make_tiny_gguf


@pytest.fixture(scope="module")
def reference(models):
    """The same file in llama-cpp-python's own class."""
    model = llama_cpp.Llama(str(models.tiny.path), n_ctx=512, verbose=False)
    yield model
    model.close()


def test_it_is_a_backend(shared_backend):
    assert isinstance(shared_backend, Backend)


def test_the_answer_is_the_models(shared_backend, models):
    reply = shared_backend.complete(ask(models.chain, "from w"))
    assert reply.text == "xyz"
    assert reply.model == models.chain.name
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.role == "assistant"


def test_the_answer_is_what_llama_cpp_python_says_token_by_token(shared_backend, models, reference):
    prompt = "<|user|>Say something.<|assistant|>"
    tokens = reference.tokenize(prompt.encode(), add_bos=False, special=True)
    generated = []
    for token in reference.generate(tokens, temp=0.0):
        if token == reference.token_eos() or len(generated) == 60:
            break
        generated.append(token)
    reply = shared_backend.complete(ask(models.tiny, "Say something.", max_tokens=60))
    assert reply.text == reference.detokenize(generated).decode("utf-8", "replace")
    assert reply.usage.prompt_tokens == len(tokens)
    assert reply.usage.completion_tokens == len(generated)


def test_usage_counts_the_template_but_not_the_token_that_ends_the_answer(shared_backend, models):
    usage = shared_backend.complete(ask(models.chain, "w")).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1, 3, 4)


@pytest.mark.parametrize(("limit", "text", "reason"), [(2, "xy", "length"), (3, "xyz", "length"),
                                                      (4, "xyz", "stop")])  # fmt: skip
def test_max_tokens_bounds_the_answer_and_says_so(shared_backend, models, limit, text, reason):
    reply = shared_backend.complete(ask(models.chain, "w", max_tokens=limit))
    assert (reply.text, reply.choices[0].finish_reason) == (text, reason)
    assert reply.usage.completion_tokens == min(limit, 3)


def test_without_max_tokens_the_settings_bound_the_answer(models, trials):
    backend = LlamaCppBackend(LlamaCppSettings(max_tokens=7, cache_dir=trials))
    reply = backend.complete(ask(models.endless, "Go on."))
    assert reply.usage.completion_tokens == 7
    assert reply.choices[0].finish_reason == "length"
    backend.close()


def test_the_card_bounds_the_answer(shared_backend, models):
    card = models.endless.model_copy(update={"max_output_tokens": 5})
    assert shared_backend.complete(ask(card, "Go on.")).usage.completion_tokens == 5
    long = shared_backend.complete(ask(card, "Go on.", max_tokens=50))
    assert long.usage.completion_tokens == 5


def test_an_answer_that_fills_the_window_ends_there(shared_backend, models):
    card = models.endless.model_copy(update={"context_window": 40})
    reply = shared_backend.complete(ask(card, "Go on.", max_tokens=1_000))
    assert reply.usage.total_tokens == 40
    assert reply.choices[0].finish_reason == "length"


def test_the_last_token_of_the_files_window_can_be_used(shared_backend, models):
    card = models.tiny.model_copy(update={"context_window": 100_000})  # the file says 512
    reply = shared_backend.complete(ask(card, "x" * 505, max_tokens=1_000, logit_bias={1: -100}))
    assert reply.usage.total_tokens == 512


def test_a_prompt_longer_than_the_window_is_refused_with_both_numbers(shared_backend, models):
    card = models.chain.model_copy(update={"context_window": 100})
    with pytest.raises(BadRequestError, match=r"1,200 tokens.*window of 100") as caught:
        shared_backend.complete(ask(card, "x" * 1_200))
    assert caught.value.model == card.name
    assert caught.value.hint


def test_a_prompt_that_leaves_room_for_one_token_is_answered(shared_backend, models):
    card = models.chain.model_copy(update={"context_window": 100})
    assert shared_backend.complete(ask(card, "-" * 98 + "w")).text == "x"
    with pytest.raises(BadRequestError):
        shared_backend.complete(ask(card, "-" * 99 + "w"))


@pytest.mark.parametrize("stop", ["hij", ["hij"], ["zzz", "hijk", "hij"], ["j", "hij"]])
def test_a_stop_text_across_tokens_ends_the_answer_before_it(shared_backend, models, stop):
    reply = shared_backend.complete(ask(models.chain, "c", stop=stop))
    assert reply.text == "defg"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens == 7  # d to j: what was generated, not what was shown


def test_a_stop_text_that_does_not_come_loses_nothing(shared_backend, models):
    assert shared_backend.complete(ask(models.chain, "v", stop=["yzz", "z!"])).text == "wxyz"


def test_characters_come_whole_although_their_bytes_come_apart(shared_backend, models):
    assert shared_backend.complete(ask(models.characters, "?")).text == "é漢"
    texts = [chunk.text for chunk in shared_backend.stream(ask(models.characters, "?"))]
    assert texts == ["é", "漢", ""]


def test_bytes_that_are_no_character_are_replaced_and_nothing_is_lost(shared_backend, models):
    assert shared_backend.complete(ask(models.broken, "?")).text == "o\ufffdk\ufffd"
    texts = [chunk.text for chunk in shared_backend.stream(ask(models.broken, "?"))]
    assert "".join(texts) == "o\ufffdk\ufffd"


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_random_model_says_is_text(shared_backend, models, seed):
    request = ask(models.tiny, "?", temperature=2.0, top_p=1.0, seed=seed, max_tokens=80)
    text = shared_backend.complete(request).text
    assert text.encode("utf-8").decode("utf-8") == text
    assert "".join(chunk.text for chunk in shared_backend.stream(request)) == text


def test_the_same_request_has_the_same_answer(shared_backend, models):
    texts = {
        shared_backend.complete(ask(models.tiny, "Hello.", max_tokens=40)).text for _ in range(3)
    }
    assert len(texts) == 1


def test_the_same_seed_has_the_same_answer_and_another_has_another(shared_backend, models):
    def text(seed):
        request = ask(models.tiny, "Hello.", max_tokens=40, temperature=1.5, seed=seed)
        return shared_backend.complete(request).text

    assert text(1) == text(1)
    assert text(-5) == text(-5)
    assert len({text(seed) for seed in range(6)}) == 6


def test_without_a_seed_answers_differ_when_the_temperature_allows(shared_backend, models):
    request = ask(models.tiny, "Hello.", max_tokens=40, temperature=1.5)
    assert len({shared_backend.complete(request).text for _ in range(4)}) > 1


def test_the_text_of_a_control_token_in_a_message_stays_text(shared_backend, models):
    """Nobody can end a turn or begin another speaker's by typing its marker."""
    marker = shared_backend.complete(ask(models.tiny, MARKERS[0], max_tokens=1)).usage
    plain = shared_backend.complete(ask(models.tiny, "x" * len(MARKERS[0]), max_tokens=1)).usage
    assert marker.prompt_tokens == plain.prompt_tokens == len(MARKERS[0]) + 2


def test_a_conversation_is_written_by_the_template(shared_backend, models):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "ab"}, {"type": "text", "text": "c"}],
        },
        {"role": "assistant", "content": "de"},
        {"role": "user", "content": "f"},
    ]
    usage = shared_backend.complete(
        Request(models.tiny, messages, GenerationSettings(max_tokens=1))
    ).usage
    assert usage.prompt_tokens == len("Be brief.") + len("abc") + len("de") + len("f") + 5


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
def test_a_response_format_is_kept_to(shared_backend, models, kind):
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer"}, "kind": {"enum": ["cat", "dog"]}},
        "required": ["age", "kind"],
        "additionalProperties": False,
    }
    form = {"type": kind}
    if kind == "json_schema":
        form["json_schema"] = {"name": "animal", "schema": schema}
    for seed in range(3):
        reply = shared_backend.complete(
            ask(models.tiny, "An animal.", response_format=form, max_tokens=400,
                temperature=1.0, seed=seed)
        )  # fmt: skip
        if reply.choices[0].finish_reason == "length":
            continue  # a random model may fill its window with one long string
        value = json.loads(reply.text)
        assert isinstance(value, dict)
        if kind == "json_schema":
            assert isinstance(value["age"], int)
            assert value["kind"] in ("cat", "dog")


def test_text_in_a_schema_is_json_even_from_a_model_that_likes_control_characters(
    shared_backend, models
):
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 12}}}
    form = {"type": "json_schema", "json_schema": {"schema": {**schema, "required": ["a"]}}}
    for seed in range(6):
        request = ask(models.tiny, "?", response_format=form, max_tokens=200, temperature=2.0,
                      top_p=1.0, top_k=0, min_p=0.0, seed=seed)  # fmt: skip
        assert isinstance(json.loads(shared_backend.complete(request).text)["a"], str)


def test_a_schema_may_refer_to_itself_as_recursive_pydantic_models_do(shared_backend, models):
    tree = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "kids": {"items": {"$ref": "#/$defs/T"},
                                                          "type": "array"}},
        "required": ["n", "kids"],
    }  # fmt: skip
    schema = {"$defs": {"T": tree}, "$ref": "#/$defs/T"}
    form = {"type": "json_schema", "json_schema": {"name": "T", "schema": schema}}
    # Without a preference it would open one list after another.
    close = {str(5 + byte): 100 for byte in b"]"}
    request = ask(models.tiny, "?", response_format=form, max_tokens=200, logit_bias=close)
    assert set(json.loads(shared_backend.complete(request).text)) == {"n", "kids"}


def test_a_response_format_of_text_changes_nothing(shared_backend, models):
    assert shared_backend.complete(ask(models.chain, "w", response_format={"type": "text"}))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"type": "yaml"}, "unknown type 'yaml'"),
        ({"type": "json_schema"}, "no json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "wibble"}}}, "schema"),
        ({"type": "json_schema", "json_schema": {"schema": {"$ref": "https://x.org/a"}}}, "x.org"),
        ({"type": "json_schema", "json_schema": {"schema": {"$ref": "#/$defs/none"}}}, "schema"),
        ({"type": "json_object", "schema": {"description": "x" * 200_000}}, "100,000"),
    ],
)
def test_a_response_format_that_cannot_be_kept_to_is_refused(shared_backend, models, form, words):
    with pytest.raises(BadRequestError) as caught:
        shared_backend.complete(ask(models.tiny, "?", response_format=form))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9, "items": {}},
        {"type": "string", "pattern": "^a{0,200000}$"},
        {"type": "string", "maxLength": 10**6},
    ],
    ids=str,
)
def test_large_counts_are_no_reason_to_refuse(shared_backend, models, schema):
    form = {"type": "json_object", "schema": schema}
    text = shared_backend.complete(ask(models.tiny, "?", response_format=form, max_tokens=4)).text
    assert text[0] == ("[" if schema["type"] == "array" else '"')


def test_a_schema_nested_beyond_reason_is_refused(shared_backend, models):
    schema = {"type": "string"}
    for _ in range(5_000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(BadRequestError):
        shared_backend.complete(
            ask(models.tiny, "?", response_format={"type": "json_object", "schema": schema})
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tools": ({"type": "function"},)}, "tools"),
        ({"n": 0}, "n=0"),
        ({"n": 1.5}, "whole number"),
        ({"logprobs": 3}, "logprobs=3"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs=21"),
        ({"top_logprobs": 2}, "logprobs=True"),
        ({"logit_bias": {"999999": 1}}, "beyond"),
        ({"logit_bias": {"one": 1}}, "logit_bias"),
        ({"logit_bias": {1: float("nan")}}, "logit_bias"),
        ({"topk": 3}, "'top_k'"),
        ({"extra_body": {"min_p": 2}}, "min_p=2"),
        ({"extra_body": {"temperature": "hot"}}, "must be a number"),
        ({"top_k": 1.5}, "whole number"),
        ({"stop": [1]}, "stop"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(shared_backend, models, options, words):
    with pytest.raises(BadRequestError) as caught:
        shared_backend.complete(ask(models.tiny, "?", **options))
    assert words in str(caught.value)
    assert not caught.value.retryable


def test_options_that_do_not_concern_the_text_are_let_through(shared_backend, models):
    request = ask(models.chain, "w", user="me", n=1, parallel_tool_calls=True, logprobs=False)
    assert shared_backend.complete(request).text == "xyz"


def test_options_of_llama_cpp_reach_it(shared_backend, models):
    banned = ask(models.chain, "w", logit_bias={str(5 + ord("x")): -100}, max_tokens=5)
    assert "x" not in shared_backend.complete(banned).text
    one = ask(models.tiny, "?", temperature=2.0, extra_body={"top_k": 1}, max_tokens=30)
    greedy = ask(models.tiny, "?", max_tokens=30)
    assert shared_backend.complete(one).text == shared_backend.complete(greedy).text


def test_penalties_keep_a_model_from_repeating_itself(shared_backend, models, tmp_path):
    card = ModelCard.local(make_chain_gguf(tmp_path / "loop.gguf", {}))
    loop = shared_backend.complete(ask(card, "e", max_tokens=20)).text
    assert loop == "e" * 20
    # The chain's score for the next token is about 17; each repetition takes 2 off.
    varied = shared_backend.complete(ask(card, "e", max_tokens=20, frequency_penalty=2.0)).text
    assert varied.startswith("eeee")
    assert varied != loop


def test_an_image_is_refused(shared_backend, models):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    request = Request(models.tiny, [{"role": "user", "content": [image]}])
    with pytest.raises(BadRequestError, match="image_url"):
        shared_backend.complete(request)


def test_what_the_template_refuses_is_refused_in_its_words(shared_backend, models):
    request = Request(models.tiny, [{"role": "tool", "content": "42"}])
    with pytest.raises(BadRequestError, match="unknown role tool") as caught:
        shared_backend.complete(request)
    assert caught.value.__cause__ is not None


def test_half_a_surrogate_pair_is_refused(shared_backend, models):
    with pytest.raises(BadRequestError, match="surrogate") as caught:
        shared_backend.complete(ask(models.tiny, "a \ud83d b"))
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)


@pytest.mark.parametrize("text", ["a\0b", "\x01\x02", "🎉" * 20, "\u202etxt", "x" * 400, " " * 400])
def test_odd_text_is_answered(shared_backend, models, text):
    assert shared_backend.complete(ask(models.tiny, text, max_tokens=2)).usage.completion_tokens


def test_a_file_without_a_template_is_refused_by_name_unless_one_is_given(tmp_path, trials):
    card = ModelCard.local(make_tiny_gguf(tmp_path / "bare.gguf", chat_template=None))
    with closing(LlamaCppBackend(LlamaCppSettings(cache_dir=trials))) as backend:
        with pytest.raises(LocalModelError, match=r"bare\.gguf has no chat template") as caught:
            backend.complete(ask(card, "?"))
        assert "chat_template=" in caught.value.hint
    settings = LlamaCppSettings(chat_template="{{ messages[0].content }}", cache_dir=trials)
    with closing(LlamaCppBackend(settings)) as backend:
        reply = backend.complete(ask(card, "abc", max_tokens=1))
    assert reply.usage.prompt_tokens == 3


@pytest.mark.parametrize("template", ["{% if %}", "{{ messages", "{% wibble %}"])
def test_a_template_that_is_no_template_is_the_files_fault(trusting, tmp_path, template):
    card = ModelCard.local(make_tiny_gguf(tmp_path / "bad.gguf", chat_template=template))
    with pytest.raises(LocalModelError, match=r"bad\.gguf has a chat template that cannot be read"):
        trusting.complete(ask(card, "?"))


@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ 1 / 0 }}", "{{ x.y.z }}"],
)
def test_a_templates_program_cannot_do_harm(trusting, tmp_path, template):
    card = ModelCard.local(make_tiny_gguf(tmp_path / "evil.gguf", chat_template=template))
    with pytest.raises(BadRequestError, match="chat template"):
        trusting.complete(ask(card, "?"))


def test_a_template_that_makes_nothing_is_no_prompt(trusting, tmp_path):
    card = ModelCard.local(make_tiny_gguf(tmp_path / "empty.gguf", chat_template="{# #}"))
    with pytest.raises(BadRequestError, match="makes nothing"):
        trusting.complete(ask(card, "?"))


def test_a_card_without_a_file_is_refused(shared_backend, models):
    card = models.tiny.model_copy(update={"path": None})
    with pytest.raises(LocalModelError, match="names no GGUF file"):
        shared_backend.complete(ask(card, "?"))


def test_a_long_run_of_letters_does_not_overflow_the_tokenizers_stack(shared_backend, tmp_path):
    """std::regex calls itself once a character; this tokenizer would end the process."""
    path = make_tiny_gguf(tmp_path / "falcon.gguf", metadata={"tokenizer.ggml.pre": "falcon"})
    card = ModelCard.local(path)
    for text in ("a" * 200_000, "!" * 200_000, " " * 200_000, "漢" * 100_000):
        with pytest.raises(BadRequestError, match="window of 512"):
            shared_backend.complete(ask(card, text))
        assert shared_backend.tokenizer(card)(text) > 1_000


def test_the_tokenizer_counts_as_the_model_does_and_loads_nothing(backend, models, reference):
    assert backend.tokenizer(models.tiny) is None
    backend.complete(ask(models.tiny, "?", max_tokens=1))
    count = backend.tokenizer(models.tiny)
    for text in ("", "the the and", "naïve 漢字", "x" * 5_000, "the ink and the pen " * 400):
        expected = reference.tokenize(text.encode(), add_bos=False, special=False)
        assert count(text) == len(expected)
    assert count("lone \ud83d") > 0
    assert backend.tokenizer(models.tiny.model_copy(update={"path": None})) is None
    assert backend.tokenizer(models.chain) is None
    backend.close()
    with pytest.raises(LocalModelError, match="not loaded any more"):
        count("x")


@pytest.mark.parametrize(
    "options",
    [{"n_threads": 0}, {"n_batch": -1}, {"max_tokens": True}, {"unload_after_s": 0}],
)
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        LlamaCppSettings(**options)


def test_a_small_file_gets_one_thread_and_a_large_one_at_most_the_cores():
    settings = LlamaCppSettings()
    assert settings.threads_for(6_000_000) == 1
    assert 1 <= settings.threads_for(10**12) <= 1024
    assert LlamaCppSettings(n_threads=3).threads_for(1) == 3
