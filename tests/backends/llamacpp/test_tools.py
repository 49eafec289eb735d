"""Tool calls: what a model is told of tools, what it may write, and what is read from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.engine.native import Model, log
from modelrouter.backends.llamacpp.grammar.constraint import Constraint
from modelrouter.backends.llamacpp.grammar.response_format import calls_grammar
from modelrouter.backends.llamacpp.prompt import PromptWriter, plain_messages
from modelrouter.backends.llamacpp.tools import (
    ToolCallAssembler,
    chosen_tools,
    form_of,
    handles_tools,
    prepared,
    read_calls,
)
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import BadRequestError
from tests.support.gguf_factory import MARKERS, make_tiny_gguf
from tests.support.random_writer import written

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "unit": {"enum": ["C", "F"]},
            },
            "required": ["city"],
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "get_time", "parameters": {}}}
TOOLS = (WEATHER, CLOCK)
NAMES = ("get_weather", "get_time")

# Templates after each family's manner, cut down to what matters here.
TEMPLATES = {
    "hermes": "{% if tools %}<tools>{{ tools | tojson }}</tools> answer with "
    "<tool_call>{...}</tool_call>{% endif %}{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ {'name': c.function.name, "
    "'arguments': c.function.arguments} | tojson }}</tool_call>{% endfor %}{% endfor %}",
    "mistral": "{% if tools is not none %}[AVAILABLE_TOOLS]{{ tools | tojson }}"
    "[/AVAILABLE_TOOLS]{% endif %}{% for m in messages %}{{ m.content }}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}{% if c.id | length != 9 %}"
    "{{ raise_exception('ids have nine characters') }}{% endif %}{% endfor %}"
    "[TOOL_CALLS]{% endif %}{% endfor %}",
    "mistral-bare": "{% if tools %}x{% endif %}[TOOL_CALLS]name[ARGS]{}",
    "llama-3": '{% if tools %}answer with {"name": n, "parameters": p} '
    "{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
    "granite": "{% if tools %}<|tool_call|>{% endif %}",
    "json": "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
    "{{ m.content }}{% endfor %}",
}
FORMS = {name: form_of(source) for name, source in TEMPLATES.items()}


def calls_of(text: str, form: str) -> tuple[str, list[tuple[str, Any]]]:
    content, calls = read_calls(text, FORMS[form], NAMES)
    return content, [(c.function.name, json.loads(c.function.arguments)) for c in calls]


def test_a_template_that_uses_tools_is_told_from_one_that_speaks_of_them() -> None:
    assert all(map(handles_tools, TEMPLATES.values()))
    assert not handles_tools("{{ 'no tools here' }} tools {# tools #} {{ messages[0].content }}")
    assert not handles_tools("{% if %}{{")


OSLO = ("get_weather", {"city": "Oslo"})
READ = [
    ("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
     "", [OSLO]),
    ("hermes", 'I will look.\n<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}'
     '</tool_call>\n<tool_call>{"name": "get_time", "arguments": {}}</tool_call> Done.',
     "I will look.\nDone.", [OSLO, ("get_time", {})]),
    ("hermes", '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}', "",
     [OSLO]),
    ("hermes", '{"name": "get_weather", "arguments": {"city": "Oslo"}}', "", [OSLO]),
    ("hermes", '<tool_call>{"name": "get_weather", "arguments": {"city": "a</tool_call>b"}}'
     "</tool_call>", "", [("get_weather", {"city": "a</tool_call>b"})]),
    ("mistral", '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Oslo"}}, '
     '{"name": "get_time", "arguments": {}}]', "", [OSLO, ("get_time", {})]),
    ("mistral", '[TOOL_CALLS]get_weather{"city": "Oslo"}', "", [OSLO]),
    ("mistral-bare", '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]get_time'
     "[CALL_ID]abc123def[ARGS]{}", "", [OSLO, ("get_time", {})]),
    ("llama-3", '{"name": "get_weather", "parameters": {"city": "Oslo"}}', "", [OSLO]),
    ("llama-3", '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo"}}; '
     '{"name": "get_time", "parameters": {}}', "", [OSLO, ("get_time", {})]),
    ("llama-3", '{"type": "function", "function": "get_weather", "parameters": {"city": "Oslo"}}',
     "", [OSLO]),
    ("granite", '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]', "",
     [OSLO]),
    ("json", '```json\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n```', "", [OSLO]),
    ("json", '[{"type": "function", "function": {"name": "get_weather", "arguments": '
     '{"city": "Oslo"}}}]', "", [OSLO]),
    ("json", '{"name": "get_weather",\n "arguments": {"city": "Os\nlo"}}', "",
     [("get_weather", {"city": "Os\nlo"})]),
]  # fmt: skip

PLAIN = [
    ("hermes", "Hello, world."),
    ("hermes", "<tool_call>nonsense</tool_call>"),
    ("hermes", '<tool_call>{"name": "get_weather", "arguments": {"city": "Os'),
    ("hermes", '<tool_call>{"name": 5, "arguments": {}}</tool_call>'),
    ("mistral", "[TOOL_CALLS] [1, 2]"),
    ("mistral", "[TOOL_CALLS]"),
    ("llama-3", '{"name": "Ada", "parameters": {"born": 1815}}'),
    ("json", '{"name": "get_weather"}'),
    ("json", '{"name": "get_weather", "arguments": [1]}'),
    ("json", '{"name": "Ada Lovelace", "born": 1815}'),
    ("json", "{" * 5_000),
    ("json", '{"name":' * 20_000),
    ("json", "  leading and trailing  "),
    ("json", ""),
]


@pytest.mark.parametrize(("form", "text", "content", "calls"), READ, ids=lambda v: str(v)[:30])
def test_calls_are_read_in_every_familys_form(
    form: str, text: str, content: str, calls: list[tuple[str, Any]]
) -> None:
    assert calls_of(text, form) == (content, calls)


@pytest.mark.parametrize(("form", "text"), PLAIN, ids=lambda v: str(v)[:30])
def test_what_is_no_call_is_plain_text_to_the_character(form: str, text: str) -> None:
    assert calls_of(text, form) == (text, [])
    assert streamed(text, form, 3) == (text, [])


def streamed(text: str, form: str, step: int) -> tuple[str, list[tuple[str, Any]]]:
    assembler = ToolCallAssembler(FORMS[form], NAMES)
    shown = "".join(assembler.add(text[i : i + step]) for i in range(0, len(text), step))
    rest, calls = assembler.finish()
    return shown + rest, [(c.function.name, json.loads(c.function.arguments)) for c in calls]


@pytest.mark.parametrize(("form", "text", "content", "calls"), READ, ids=lambda v: str(v)[:30])
@pytest.mark.parametrize("step", [1, 2, 7, 1_000])
def test_calls_are_read_from_a_stream_and_never_shown(
    form: str, text: str, content: str, calls: list[tuple[str, Any]], step: int
) -> None:
    shown, found = streamed(text, form, step)
    assert found == calls
    assert shown == content


def test_text_is_shown_as_soon_as_it_cannot_be_a_call() -> None:
    assembler = ToolCallAssembler(FORMS["hermes"], NAMES)
    assert assembler.add("The answer") == "The answer"
    assert assembler.add(" is <") == " is"
    assert assembler.add("b>bold") == " <b>bold"
    assert assembler.add(' {"name": 1}') == ' {"name": 1}'
    assert assembler.add("\n<tool_") == ""
    assert assembler.add("call>{") == ""
    assert assembler.finish() == ("\n<tool_call>{", [])


def test_json_that_is_no_call_is_held_no_longer_than_it_takes_to_see() -> None:
    assembler = ToolCallAssembler(FORMS["json"], NAMES)
    assert assembler.add('{"') == ""
    assert assembler.add('answer": ') == '{"answer":'
    assert assembler.add("42}") == " 42}"


@settings(deadline=None)
@given(text=st.text(max_size=60), form=st.sampled_from(sorted(FORMS)), step=st.integers(1, 9),
       begin=st.sampled_from(["", "<tool_call>", "[TOOL_CALLS]", '{"name": "get_time", "a',
                              "```json", "[", '{"name"']))  # fmt: skip
def test_no_text_is_lost_and_nothing_fails(text: str, form: str, step: int, begin: str) -> None:
    whole = begin + text
    shown, calls = streamed(whole, form, step)
    assert calls or shown == whole


def test_ids_are_fresh_and_as_the_family_wants_them() -> None:
    for form, length in (("hermes", 29), ("mistral", 9)):
        text = FORMS[form].written('{"name": "get_time", "arguments": {}}')
        ids = {read_calls(text, FORMS[form], NAMES)[1][0].id for _ in range(20)}
        assert len(ids) == 20
        assert {len(i) for i in ids} == {length}


CHOICES = [
    (None, NAMES, False),
    ("auto", NAMES, False),
    ("none", (), False),
    ("required", NAMES, True),
    ({"type": "function", "function": {"name": "get_time"}}, ("get_time",), True),
]


@pytest.mark.parametrize(("choice", "names", "forced"), CHOICES, ids=str)
def test_a_tool_choice_says_what_may_be_called(
    choice: Any, names: tuple[str, ...], forced: bool
) -> None:
    found = chosen_tools(TOOLS, choice, "m")
    assert (found.names, found.forced) == (names, forced)
    assert found.offered == (() if choice == "none" else TOOLS)


@pytest.mark.parametrize(
    ("tools", "choice", "words"),
    [
        (TOOLS, "sometimes", "tool_choice='sometimes'"),
        (TOOLS, {"type": "function", "function": {"name": "fly"}}, "'fly'"),
        ((), "required", "'required', and tools is empty"),
        (({"type": "function"},), None, r"tools\[0\] must be a function"),
        ((WEATHER, WEATHER), None, "two functions named 'get_weather'"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(tools: Any, choice: Any, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        chosen_tools(tools, choice, "m")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Model, Path]]:
    path = make_tiny_gguf(tmp_path_factory.mktemp("t") / "tiny.gguf")
    with log.kept():
        yield Model(path), path


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_call_that_is_required_is_written_in_the_familys_form_with_valid_arguments(
    model: tuple[Model, Path], form: str
) -> None:
    choice = chosen_tools(TOOLS, "required", "m")
    grammar, _ = calls_grammar(choice, FORMS[form], "m")
    seen = set()
    for seed in range(12):
        content, calls = calls_of(written(model[0], grammar, seed), form)
        assert content == ""
        [(name, arguments)] = calls
        seen.add(name)
        if name == "get_weather":
            jsonschema.validate(arguments, WEATHER["function"]["parameters"])
        else:
            assert arguments == {}
    assert seen == set(NAMES)


def test_a_named_function_is_the_only_one_that_is_called(model: tuple[Model, Path]) -> None:
    named = {"type": "function", "function": {"name": "get_time"}}
    grammar, _ = calls_grammar(chosen_tools(TOOLS, named, "m"), FORMS["hermes"], "m")
    for seed in range(4):
        assert calls_of(written(model[0], grammar, seed), "hermes") == ("", [("get_time", {})])


def test_parameters_that_cannot_be_read_are_refused_with_the_functions_name() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}
    with pytest.raises(BadRequestError, match=r"function 'f' cannot be read: #: nothing is valid"):
        calls_grammar(chosen_tools((tool,), "required", "m"), FORMS["json"], "m")


CONVERSATION = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_0123456789abcdef", "type": "function",
         "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}]},
    {"role": "tool", "tool_call_id": "call_0123456789abcdef", "content": "rain"},
]  # fmt: skip


def prompt(model: tuple[Model, Path], source: str, tools: Any = TOOLS) -> str:
    messages = plain_messages(CONVERSATION, "m")
    tokens = PromptWriter(*model, source).write(messages, "m", tools=tools, override=source)
    return b"".join(model[0].piece(token) for token in tokens).decode()


def test_tools_calls_and_results_reach_the_template(model: tuple[Model, Path]) -> None:
    text = prompt(model, TEMPLATES["hermes"])
    assert f"<tools>{json.dumps(TOOLS)}</tools>" in text
    assert '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>' in text
    assert text.endswith("[tool]rain")
    assert "<tools>" not in prompt(model, TEMPLATES["hermes"], ())


def test_a_template_that_joins_arguments_as_text_gets_them_as_text(
    model: tuple[Model, Path],
) -> None:
    source = (
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{{ '>' + c.function.arguments }}{% endfor %}{% endfor %}"
    )
    assert prompt(model, source, ()) == '>{"city": "Oslo"}'


def test_ids_of_other_models_are_made_to_fit(model: tuple[Model, Path]) -> None:
    assert "[TOOL_CALLS]" in prompt(model, TEMPLATES["mistral"])
    _, call, result = prepared(CONVERSATION, FORMS["mistral"])
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    kept = {"role": "tool", "tool_call_id": "abcDEF123", "content": ""}
    assert prepared([kept], FORMS["mistral"]) == [kept]


def test_tools_for_a_template_without_a_place_for_them_are_refused(
    model: tuple[Model, Path],
) -> None:
    with pytest.raises(BadRequestError, match="no place for tools"):
        prompt(model, "{{ messages[0].content }}")


def test_markers_that_are_control_tokens_are_given_their_text(tmp_path: Path) -> None:
    marks = ("<tool_call>", "</tool_call>")
    path = make_tiny_gguf(tmp_path / "t.gguf", more_markers=marks)
    model = Model(path)
    writer = PromptWriter(model, path, None)
    last = model.n_vocab
    assert model.piece(last - 2) == b""
    found = writer.markers(TEMPLATES["hermes"])
    assert found == {last - 2: marks[0].encode(), last - 1: marks[1].encode()}
    # Its vocabulary has no token for these: their text is written byte by byte.
    assert writer.markers(TEMPLATES["mistral"]) == {}


def test_a_marker_that_is_a_control_token_may_be_written_where_a_call_is_forced(
    tmp_path: Path,
) -> None:
    model = Model(make_tiny_gguf(tmp_path / "t.gguf", more_markers=("<tool_call>",)))
    grammar, _ = calls_grammar(chosen_tools(TOOLS, "required", "m"), FORMS["hermes"], "m")
    constraint = Constraint(model, grammar, {model.n_vocab - 1: b"<tool_call>"})
    allowed = constraint.allowed(np.arange(model.n_vocab, dtype=np.int32))
    assert allowed[model.n_vocab - 1]
    assert not allowed[MARKERS.index("<|user|>")]


def test_a_forced_call_comes_back_as_openai_writes_it(tmp_path: Path) -> None:
    """From a random model, whole and in a stream; the markers are control tokens here."""
    path = make_tiny_gguf(
        tmp_path / "t.gguf",
        chat_template=TEMPLATES["hermes"],
        context_length=2_048,
        more_markers=("<tool_call>", "</tool_call>"),
    )
    card = ModelCard.local(path)
    assert "tools" in card.capabilities
    city = {"type": "string", "enum": ["Oslo", "Rome"]}
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": city},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    request = Request(
        card,
        [{"role": "user", "content": "Is it raining?"}],
        GenerationSettings(max_tokens=300),
        tools=(tool,),
        tool_choice="required",
    )
    with closing(LlamaCppBackend(LlamaCppSettings(trial=False))) as backend:
        (choice,) = backend.complete(request).choices
        assert choice.finish_reason == "tool_calls"
        (call,) = choice.message.tool_calls or ()
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in city["enum"]
        chunks = list(backend.stream(request))
        (delta,) = chunks[-1].choices[0].delta.tool_calls or ()
        assert delta.function is not None
        assert delta.function.arguments == call.function.arguments
        assert "".join(chunk.text for chunk in chunks) == (choice.message.content or "")
        free = replace(request, tool_choice="auto")
        assert backend.complete(free).choices[0].finish_reason in ("stop", "length")
        clash = replace(free, response_format={"type": "json_object"})
        with pytest.raises(BadRequestError, match="response_format and be free to call"):
            backend.complete(clash)


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """A random model whose template has a place for tools and whose markers are control tokens."""
    path = make_tiny_gguf(
        tmp_path_factory.mktemp("calling") / "calling.gguf",
        chat_template=TEMPLATES["hermes"],
        context_length=1_024,
        more_markers=("<tool_call>", "</tool_call>"),
    )
    return ModelCard.local(path, capabilities={"tools"})


def asked(card: ModelCard, seed: int, **more: Any) -> Request:
    options = GenerationSettings(temperature=1.0, seed=seed, max_tokens=400)
    messages = [{"role": "user", "content": "Weather?"}]
    return Request(card, messages, options, tools=TOOLS, timeout_s=60.0, **more)


def test_a_required_call_comes_back_as_a_tool_call(
    trusting: LlamaCppBackend, calling: ModelCard
) -> None:
    called = set()
    for seed in range(8):
        reply = trusting.complete(asked(calling, seed, tool_choice="required"))
        [choice] = reply.choices
        if choice.finish_reason == "length":
            continue  # a random model may go on writing white space
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        [call] = choice.message.tool_calls or []
        called.add(call.function.name)
        arguments = json.loads(call.function.arguments)
        if call.function.name == "get_weather":
            # How long its text is cannot be said: this model writes bytes that are no characters.
            assert isinstance(arguments["city"], str)
            assert arguments.get("unit", "C") in ("C", "F")
        else:
            assert arguments == {}
    assert called
    assert called <= set(NAMES)


def test_a_stream_gives_calls_whole_and_shows_nothing_of_their_text(
    trusting: LlamaCppBackend, calling: ModelCard
) -> None:
    named = {"type": "function", "function": {"name": "get_time"}}
    chunks = list(trusting.stream(asked(calling, 1, tool_choice=named)))
    assert "".join(chunk.text for chunk in chunks) == ""
    [delta] = [d for chunk in chunks for d in chunk.choices[0].delta.tool_calls or []]
    assert delta.function is not None
    assert (delta.index, delta.function.name) == (0, "get_time")
    assert json.loads(delta.function.arguments or "") == {}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_tools_that_are_only_offered_leave_text_as_it_is(
    trusting: LlamaCppBackend, calling: ModelCard
) -> None:
    for choice in ("auto", "none"):
        reply = trusting.complete(asked(calling, 3, tool_choice=choice))
        streamed_text = "".join(
            chunk.text for chunk in trusting.stream(asked(calling, 3, tool_choice=choice))
        )
        assert reply.text == streamed_text
        assert reply.choices[0].message.tool_calls is None
