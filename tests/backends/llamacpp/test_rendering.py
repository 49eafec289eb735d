"""Chat templates that would not end, or fill the memory: given up, whatever they try."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.rendering import (
    Renderer,
    RenderingStopped,
    TemplateLimitError,
)
from modelrouter.backends.llamacpp.templates import NAMED
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BackendTimeoutError, LocalModelError
from tests.backends.llamacpp.conftest import ask
from tests.support.gguf_factory import CHAT_TEMPLATE, make_tiny_gguf

MESSAGES = [
    {"role": "system", "content": "Be <brief>."},
    {"role": "user", "content": "Hi é漢"},
    {
        "role": "assistant",
        "content": "Hello",
        "tool_calls": [{"function": {"arguments": {"a": 1}}}],
    },
    {"role": "user", "content": "Bye"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

LOOP = "{%- for i in range(99999) -%}{%- for j in range(99999) -%}{%- endfor -%}{%- endfor -%}"
GROWING = "{{% set ns = namespace(x={0}) %}}{{% for i in range(99) %}}{{% set ns.x = {1} %}}"
GROWN = "{% endfor %}{{ ns.x }}"


def growing(first: str, each: str) -> str:
    return GROWING.format(first, each) + GROWN


ENDLESS = {
    "loops": LOOP,
    "loops over a tool": "{%- for tool in tools -%}" + LOOP + "{%- endfor -%}",
    "a condition of a loop": "{% for i in range(99999) if range(99999)|select('==', [])|list %}"
    "{% endfor %}",
    "a macro of itself": "{% macro f(n) %}{{ f(n-1) if n }}{{ f(n-1) if n }}{% endmacro %}"
    "{{ f(60) }}",
    "lists added up": "{{ ('ab' * 200000)|list|map('list')|sum(start=[])|length }}",
}

LARGE = {
    "a power": "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
    "a square of squares": growing("3", "ns.x * ns.x"),
    "a repeated text": "{{ 'a' * 10 ** 9 }}",
    "a repeated list": "{{ [1] * 10 ** 9 }}",
    "a padded text": "{{ 'a'|center(10 ** 9) }}",
    "a padded text by a method": "{{ 'a'.ljust(10 ** 9) }}",
    "zeros": "{{ 'a'.zfill(10 ** 9) }}",
    "tabs": "{{ '\\t'.expandtabs(10 ** 9) }}",
    "a formatted text": "{{ '%1000000000d' % 1 }}",
    "a formatted text of a given width": "{{ '%*d' % (10 ** 9, 1) }}",
    "many formatted texts": "{{ ('%9999d' * 99999) % 1 }}",
    "a formatted text by a filter": "{{ '%1000000000d'|format(1) }}",
    "a formatted text by a method": "{{ '{:1000000000}'.format(1) }}",
    "a formatted text by a method, of a given width": "{{ '{:{}}'.format(1, 10 ** 9) }}",
    "one text at many places": "{{ ('{0}' * 100000).format('a' * 100000) }}",
    "a doubled text": growing("'aa'", "ns.x ~ ns.x"),
    "a text added to itself": growing("'aa'", "ns.x + ns.x"),
    "a list of lists, each twice": growing("[]", "[ns.x, ns.x]"),
    "a tuple of tuples, each twice": growing("1", "(ns.x, ns.x)"),
    "an object of objects, each twice": growing("1", "{'a': ns.x, 'b': ns.x}"),
    "one made by a call": growing("1", "dict(a=ns.x, b=ns.x)"),
    "many texts": "{{ range(100000)|map('string')|map('center', 100000)|list|length }}",
    "a batch": "{{ [1]|batch(10 ** 9, 'x')|list|length }}",
    "slices": "{{ [1]|slice(10 ** 9)|list|length }}",
    "digits": "{{ 15|round(-10 ** 8) }}",
    "replacements": "{{ ('x' * 100000)|replace('x', 'y' * 100000) }}",
    "replacements by a method": "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
    "joined texts": "{{ range(100000)|join('x' * 100000) }}",
    "joined texts by a method": "{{ ('x' * 100000).join(range(100000)|map('string')) }}",
    "indented JSON": "{{ [[1]]|tojson(indent=10 ** 9) }}",
    "indented lines": "{{ 'a\\nb'|indent(10 ** 9) }}",
    "an output in parts": "{% for i in range(99999) %}{{ 'a' * 100000 }}{% endfor %}",
    "a text in parts": "{% set x %}{% for i in range(99999) %}{{ 'a' * 100000 }}{% endfor %}"
    "{% endset %}{{ x|length }}",
    "bytes of a number": "{{ (5).to_bytes(10 ** 9, 'big') }}",
    "translated letters": "{{ 'a'.translate({97: 'b' * 1000000}) }}",
    "its own source": "a" * 1_000_000,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_does_not_end_is_given_up(name: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TemplateLimitError, match=r"not come to an end after 0.2 s"):
        Renderer(ENDLESS[name], "<s>", "</s>", most_s=0.2)(MESSAGES, TOOLS)
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("name", LARGE)
def test_a_template_that_makes_something_very_large_is_given_up_before(name: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TemplateLimitError):
        Renderer(LARGE[name], "<s>", "</s>")(MESSAGES, TOOLS)
    assert time.monotonic() - begun < 5.0


def test_rendering_stops_when_nobody_waits() -> None:
    end = time.monotonic() + 0.1
    with pytest.raises(RenderingStopped):
        Renderer(LOOP, "<s>", "</s>")(MESSAGES, None, lambda: time.monotonic() < end)
    assert time.monotonic() < end + 1.0


ORDINARY = {
    **{name: template.source for name, template in NAMED.items()},
    "tests' own": CHAT_TEMPLATE,
    "what templates use": """
{%- macro call(c) %}{{ '<call>' ~ c.function.arguments | tojson ~ '</call>' }}{% endmacro -%}
{%- set ns = namespace(system='', last=-1) -%}
{%- if messages[0]['role'] == 'system' -%}
    {%- set ns.system = messages[0].content | trim -%}{%- set messages = messages[1:] -%}
{%- endif -%}
{{- bos_token + ns.system }}{{ '\\n\\n' if ns.system and tools is not none }}
{%- for tool in tools or [] %}{{ tool | tojson(indent=4) }}{{ tool.function.items() | list }}
{%- endfor -%}
{%- for m in messages[::-1] if m.role == 'user' and m.content -%}
    {%- set ns.last = loop.revindex0 -%}{%- if loop.previtem is defined %}+{% endif -%}
{%- endfor -%}
{%- for m in messages %}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('turns') }}{% endif %}
    {%- if m.tool_calls is defined and m.tool_calls | length > 0 -%}
        {%- for c in m.tool_calls -%}{{ call(c) }}{%- endfor -%}
    {%- elif m.role in ['user', 'tool'] -%}
        {{- '<|' ~ m.role | upper ~ '|>' ~ m.content.strip().split('</think>')[-1].lstrip('\\n') }}
    {%- else %}{% generation %}{{ m.content.replace('e', '3') }}{% endgeneration %}{% endif -%}
    {%- if loop.last %}{% break %}{% else %}{{ eos_token }}{% endif -%}
{%- endfor -%}
{{- messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}
{{- '%s and %03d' % ('a', 7) }}{{ '{} {x}'.format(1, x='y') }}{{ [1, 2] + [3] }}{{ 2 * 'ab' }}
{{- {'b': 1, 'a': [none, true]} | dictsort }}{{ 7 // 2 }}{{ 7 / 2 }}{{ -3 | abs }}{{ 2 ** 5 }}
{{- 'x' if ns.last is number }}{{ nothing }}{{ nothing | default('d') }}{{ 'a b' | title }}
{{- [3, 1] | sort | first }}{{ 'one\\ntwo' | indent(2) }}{{ range(3) | sum }}{{ 1 < 2 <= 2 }}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif -%}
""",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_template_writes_what_it_writes_without_bounds(name: str) -> None:
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    source = ORDINARY[name]
    unbounded = Jinja2ChatFormatter(source, eos_token="</s>", bos_token="<s>")
    messages: list[Any] = MESSAGES
    tools: list[Any] = TOOLS
    for offered in (None, tools):
        expected = unbounded(messages=messages, tools=offered).prompt
        assert Renderer(source, "<s>", "</s>")(messages, offered) == expected
        assert "Bye" in expected


def test_a_long_conversation_is_well_within_the_bounds() -> None:
    messages = [
        {"role": ("user", "assistant")[i % 2], "content": f"{i} " + "word " * 200}
        for i in range(2_000)
    ]
    source = (
        "{% set ns = namespace(text='') %}{% for m in messages %}"
        "{% set ns.text = ns.text ~ m.role ~ m.content ~ (m|tojson) %}{% endfor %}{{ ns.text }}"
    )
    text = Renderer(source, "<s>", "</s>")(messages)
    assert len(text) > 4_000_000


@pytest.fixture
def looping(tmp_path: Path) -> ModelCard:
    return ModelCard.local(make_tiny_gguf(tmp_path / "looping.gguf", chat_template=LOOP))


@pytest.mark.parametrize("where", ["the file", "the card", "a tool"])
def test_closing_does_not_wait_for_a_template_that_does_not_end(
    tmp_path: Path, looping: ModelCard, trials: Path, where: str
) -> None:
    card, tools = looping, TOOLS if where == "a tool" else []
    if where != "the file":
        path = make_tiny_gguf(tmp_path / "sound.gguf")
        card = ModelCard.local(path, chat_template=ENDLESS["loops over a tool"] if tools else LOOP)
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    errors: list[BaseException] = []

    def call() -> None:
        try:
            backend.complete(ask(card, "Hi", timeout_s=None, tools=tools))
        except BaseException as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    deadline = time.monotonic() + 30
    while not backend.figures(card).loaded and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    begun = time.monotonic()
    backend.close()
    assert time.monotonic() - begun < 2.0
    caller.join(5)
    assert isinstance(errors[0], LocalModelError)
    assert "is closed" in str(errors[0])


def test_a_template_that_does_not_end_frees_its_model_when_time_is_over(
    backend: LlamaCppBackend, looping: ModelCard
) -> None:
    backend.warm(looping)
    for _ in range(2):
        with pytest.raises(BackendTimeoutError):
            backend.complete(ask(looping, "Hi", timeout_s=2.0))
    begun = time.monotonic()
    backend.unload(looping)
    assert time.monotonic() - begun < 2.0


def test_without_a_deadline_the_template_is_named_as_what_was_given_up(
    backend: LlamaCppBackend, tmp_path: Path
) -> None:
    path = make_tiny_gguf(tmp_path / "large.gguf", chat_template="{{ 'a' * 10 ** 9 }}")
    card = ModelCard.local(path)
    with pytest.raises(LocalModelError, match="chat template of large was given up"):
        backend.complete(ask(card, "Hi", timeout_s=None))
