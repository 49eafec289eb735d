"""Chat templates as programs of someone else's: run with bounds on time, size and work.

A template comes with a file from the internet, and Jinja is a language with loops. Its sandbox
keeps a template from reaching what is not its own, and not from counting to ten to the tenth or
doubling a text forty times, which would hold the worker thread, the memory, or Python's lock for as
long as it pleases. Here each turn of a loop, each call and each comparison looks at the clock, and
each operation that makes something larger is refused beforehand where it would be too large.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["Renderer", "RenderingStopped", "TemplateLimitError"]

_MOST_SECONDS: Final = 10.0
_LONGEST_SOURCE: Final = 1 << 19
"""Characters of a template; the longest that models come with have a tenth of it."""
_ROOM: Final = 1 << 20
"""Characters that a value may have, besides those of the messages."""
_GROWTH: Final = 16
"""How many times what the messages have may come of them: escaped, indented, repeated."""
_WORK: Final = 64
"""How many times its room a template may fill."""
_LARGEST_NUMBER: Final = 4_096
"""Bits."""
_MOST_ITEMS: Final = 100_000
"""What a number given to a filter may ask for."""
_WIDTH: Final = re.compile(r"\d{5}|\*")
_WIDTH_GIVEN: Final = re.compile(r"\{[^{}]*\{")
_NUMBER: Final = re.compile(r"\d+", re.ASCII)
_LEFT_OUT: Final = ("pprint", "striptags", "urlize", "wordwrap", "xmlattr")
"""Filters that take more than linear time, and that no prompt needs."""
_NOT_CALLED: Final = frozenset({"maketrans", "to_bytes", "translate"})
_PADDING: Final = frozenset({"center", "ljust", "rjust", "zfill"})


class TemplateLimitError(Exception):
    """A template does not come to an end, or makes something too large."""


class RenderingStopped(Exception):
    """Nobody waits for the text any more."""


class Renderer:
    """A compiled chat template.

    Args:
        source: Jinja.
        bos, eos: the texts that it knows as ``bos_token`` and ``eos_token``.
        most_s: seconds that rendering may take.

    Raises:
        TemplateLimitError: the source is too long.
        jinja2.TemplateError: it is not Jinja; the compiler lets other errors out too.
    """

    def __init__(self, source: str, bos: str, eos: str, *, most_s: float = _MOST_SECONDS) -> None:
        if len(source) > _LONGEST_SOURCE:
            raise TemplateLimitError(f"it has {len(source):,} characters")
        self._meter = _Meter()
        self._most_s = most_s
        self._bos, self._eos = bos, eos
        self._meter.begin(_ROOM, _ROOM * _WORK, most_s, _always)  # constants are computed now
        self._template = _environment(self._meter).from_string(source)

    def __call__(
        self,
        messages: Sequence[Any],
        tools: Sequence[Any] | None = None,
        go_on: Callable[[], bool] | None = None,
    ) -> str:
        """The prompt's text.

        Args:
            messages, tools: what the template knows under these names.
            go_on: asked often; ``False`` gives up.

        Raises:
            TemplateLimitError: it takes too long or makes too much.
            RenderingStopped: ``go_on`` said so.
            Exception: whatever the template does wrong.
        """
        given = _weight([messages, tools], None)
        room = _ROOM + _GROWTH * given
        # A template that adds message after message to one text copies it as often.
        work = _WORK * room + given * len(messages)
        self._meter.begin(room, work, self._most_s, go_on or _always)
        return str(
            self._template.render(
                messages=messages,
                tools=tools,
                functions=None,
                function_call=None,
                tool_choice=None,
                eos_token=self._eos,
                bos_token=self._bos,
                add_generation_prompt=True,
                raise_exception=_raise,
                strftime_now=_strftime_now,
            )
        )


def _always() -> bool:
    return True


def _raise(message: str) -> None:
    raise ValueError(message)


def _strftime_now(form: str) -> str:
    if len(form) > 1_000:
        raise TemplateLimitError("it writes the time at too great length")
    return datetime.now().strftime(form)


class _Meter:
    """What is left of the bounds on one rendering."""

    __slots__ = ("_end", "_go_on", "_room", "_seconds", "_work")

    def begin(self, room: int, work: int, seconds: float, go_on: Callable[[], bool]) -> None:
        """Anew, with so much of each."""
        self._room, self._work, self._seconds, self._go_on = room, work, seconds, go_on
        self._end = time.monotonic() + seconds

    def tick(self) -> bool:
        """Always true, so that it may stand in a condition."""
        if not self._go_on():
            raise RenderingStopped
        if time.monotonic() > self._end:
            raise TemplateLimitError(f"it has not come to an end after {self._seconds:g} s")
        return True

    def check(self, size: int) -> None:
        """Make sure that something may be so large."""
        self.tick()
        if size > self._room:
            raise TemplateLimitError(f"it makes something of more than {self._room:,} characters")

    def allow(self, size: int) -> None:
        """Make sure that something of that size may be made, beside what was made before."""
        self.check(size)
        self._work -= size
        if self._work < 0:
            raise TemplateLimitError("it makes too much by far")

    def made(self, value: Any) -> Any:
        """The value, if it is not too large."""
        self.allow(_weight(value, self._room))
        return value

    def measured(self, value: Any) -> int:
        """How large a value is; less may be said of one that is too large by far."""
        return _weight(value, self._room)


def _weight(value: Any, most: int | None) -> int:
    """Characters and items in a value, those that stand in it twice counted twice.

    So it is known what writing or comparing it takes, though a list of a list of a list, each there
    twice, is small in memory. Counting ends above ``most``.
    """
    kind = type(value)
    if kind is str:
        return len(value)
    total, left = 0, [value]
    while left:
        each = left.pop()
        total += 1
        if isinstance(each, (str, bytes)):
            total += len(each)
        elif isinstance(each, int):
            total += each.bit_length() // 3
        elif isinstance(each, Mapping):
            left += each.keys()
            left += each.values()
        elif isinstance(each, _ITEMS):
            left += each
        if most is not None and total + len(left) > most:
            return total + len(left)
    return total


_ITEMS: Final = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)


@functools.cache
def _kind() -> type[ImmutableSandboxedEnvironment]:
    """The class of environment; made late, because importing Jinja takes a while."""
    from jinja2 import nodes
    from jinja2.compiler import CodeGenerator, optimizeconst
    from jinja2.runtime import markup_join, str_join
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Metered(CodeGenerator):
        """Writes Python that asks the environment before it goes on."""

        def visit_For(self, node: nodes.For, frame: Any) -> None:
            node.body.insert(0, _ticking(nodes))
            if node.test is not None:
                node.test = nodes.And(_tick(nodes), node.test)
            super().visit_For(node, frame)

        def macro_body(self, node: Any, frame: Any) -> Any:
            node.body.insert(0, _ticking(nodes))
            return super().macro_body(node, frame)

        @optimizeconst
        def visit_Compare(self, node: nodes.Compare, frame: Any) -> None:
            self.write("(environment.meter.tick() and ")
            CodeGenerator.visit_Compare.__wrapped__(self, node, frame)  # type: ignore[attr-defined] # as optimizeconst has it
            self.write(")")

        @optimizeconst
        def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:
            self.write("environment.joined(context.eval_ctx.autoescape, (")
            for each in node.nodes:
                self.visit(each, frame)
                self.write(", ")
            self.write("))")

        def visit_List(self, node: nodes.List, frame: Any) -> None:
            self._measured(super().visit_List, node, frame)

        def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:
            self._measured(super().visit_Dict, node, frame)

        def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:
            if node.ctx == "load":
                self._measured(super().visit_Tuple, node, frame)
            else:
                super().visit_Tuple(node, frame)

        def _measured(self, visit: Callable[..., None], node: nodes.Expr, frame: Any) -> None:
            self.write("environment.meter.made(")
            visit(node, frame)
            self.write(")")

    class Bounded(ImmutableSandboxedEnvironment):
        """Where a template finds its operators and functions."""

        code_generator_class = Metered
        intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
        meter: _Meter

        def joined(self, escaping: bool, parts: tuple[Any, ...]) -> str:
            self.meter.allow(self.meter.measured(parts))
            return markup_join(parts) if escaping else str_join(parts)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            self.meter.allow(_size_of_binop(operator, left, right))
            return self.meter.made(self.binop_table[operator](left, right))

        def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
            method = getattr(__obj, "__wrapped__", __obj)  # str.format is wrapped by the sandbox
            owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
            if isinstance(owner, (str, bytes, int)):
                args = __self._checked(owner, name, args, kwargs)
            else:
                __self.meter.tick()
            return __self.meter.made(super().call(__context, __obj, *args, **kwargs))

        def _checked(
            self, owner: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[Any, ...]:
            """The arguments of a method of a text or number, if they ask for nothing large."""
            if name in _NOT_CALLED:
                raise TemplateLimitError(f"it calls {name}()")
            if name == "join" and args:
                args = (list(args[0]), *args[1:])
            self.meter.allow(_size_of_method(owner, name, args, kwargs))
            return args

    return Bounded


def _tick(nodes: Any) -> Any:
    return nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)


def _ticking(nodes: Any) -> Any:
    return nodes.ExprStmt(_tick(nodes))


def _environment(meter: _Meter) -> Any:
    """An environment whose operators, filters, tests and outputs are measured."""
    import jinja2
    from jinja2 import pass_environment, pass_eval_context
    from jinja2.ext import loopcontrols
    from jinja2.utils import Namespace
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    class Named(Namespace):
        """One that is not written out: it may stand in itself."""

        def __repr__(self) -> str:
            return "<Namespace>"

    made = _kind()(
        loader=jinja2.BaseLoader(),
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Jinja2ChatFormatter.IgnoreGenerationTags, loopcontrols],
        finalize=meter.made,
    )
    made.meter = meter  # type: ignore[attr-defined] # of our own class, which mypy does not know
    made.tick = meter.tick  # type: ignore[attr-defined] # likewise
    made.concat = functools.partial(_concat, meter)  # type: ignore[method-assign] # what a subclass would do
    made.globals["namespace"] = Named
    del made.globals["lipsum"]
    for name in _LEFT_OUT:
        del made.filters[name]
    own: dict[str, Callable[..., Any]] = {
        "join": pass_eval_context(_join),
        "sum": pass_environment(_sum),
        "tojson": pass_environment(_tojson),
    }
    filters: dict[str, Any] = {**made.filters, **own}
    tests: dict[str, Any] = {**made.tests}
    made.filters.update({name: _measuring(meter, name, each) for name, each in filters.items()})
    made.tests.update({name: _measuring(meter, "", each) for name, each in tests.items()})
    return made


def _concat(meter: _Meter, parts: Iterable[str]) -> str:
    kept, size = [], 0
    for part in parts:
        kept.append(part)
        size += len(part)
        meter.check(size)
    meter.allow(size)
    return "".join(kept)


def _measuring(meter: _Meter, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter or test, between two looks at the bounds."""
    size_of = _FILTERS.get(name)

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        given = [a for a in args if not _is_passed(a)]
        meter.allow(meter.measured([given, kwargs]))
        if size_of is not None:
            meter.allow(size_of(*given, **kwargs))
        return meter.made(function(*args, **kwargs))

    return measured


def _is_passed(value: Any) -> bool:
    """Whether Jinja and not the template gave it: a context, or the environment."""
    from jinja2 import Environment
    from jinja2.nodes import EvalContext
    from jinja2.runtime import Context

    return isinstance(value, (Context, Environment, EvalContext))


def _size_of_binop(operator: str, left: Any, right: Any) -> int:
    """The size of what an operator would make."""
    if operator == "*":
        for many, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(many, (str, bytes, list, tuple)):
                return _weight(many, None) * max(times, 0)
    if operator == "%" and isinstance(left, (str, bytes)):
        return _size_of_format(left, [right], "%")
    if operator == "+":
        return _weight([left, right], None)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length()
        if bits > _LARGEST_NUMBER or right.bit_length() > _LARGEST_NUMBER:
            raise TemplateLimitError("it computes with very large numbers")
    return 0


def _size_of_method(
    owner: str | bytes | int, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> int:
    """The size of what a text's method would make."""
    if not isinstance(owner, (str, bytes)):
        return 0
    numbers = [a for a in (*args, *kwargs.values()) if isinstance(a, int)]
    if name in _PADDING and numbers:
        return max(numbers)
    if name == "expandtabs":
        return len(owner) * max(8, *numbers, 0)
    if name == "replace" and len(args) >= 2:
        return _size_of_replace(owner, args[0], args[1])
    if name == "join" and args:
        return _weight(args[0], None) + len(owner) * len(args[0])
    if name in ("format", "format_map"):
        return _size_of_format(owner, [args, kwargs], "{")
    return _weight([args, kwargs], None)


def _size_of_replace(text: Any, old: Any, new: Any, *_: Any, **__: Any) -> int:
    text, old, new = (v if isinstance(v, bytes) else str(v) for v in (text, old, new))
    return int(len(text) + text.count(old) * len(new))


def _size_of_format(form: Any, given: Any, mark: str) -> int:
    text = form.decode("latin-1") if isinstance(form, bytes) else str(form)
    if _WIDTH.search(text) or _WIDTH_GIVEN.search(text):
        raise TemplateLimitError("it pads a text by more than a prompt can be wide")
    widest = max(map(int, _NUMBER.findall(text)), default=0)
    return len(text) + text.count(mark) * (_weight(given, None) + widest)


def _few(*_: Any, **__: Any) -> int:
    """Refuses numbers that ask a filter for very many items."""
    for value in (*_, *__.values()):
        if isinstance(value, int) and abs(value) > _MOST_ITEMS:
            raise TemplateLimitError(f"it asks a filter for {value:,} items")
    return 0


def _exact(_value: Any, precision: int = 0, *_: Any, **__: Any) -> int:
    if isinstance(precision, int) and abs(precision) > 100:
        raise TemplateLimitError(f"it rounds to {precision:,} digits")
    return 0


def _size_of_indent(value: Any, width: Any = 4, *_: Any, **__: Any) -> int:
    each = width if isinstance(width, int) else len(str(width))
    text = str(value)
    return len(text) + (text.count("\n") + 2) * max(each, 0)


_FILTERS: Final[Mapping[str, Callable[..., int]]] = {
    "batch": _few,
    "center": _few,
    "format": lambda form, *args, **kwargs: _size_of_format(form, [args, kwargs], "%"),
    "indent": _size_of_indent,
    "replace": _size_of_replace,
    "round": _exact,
    "slice": _few,
}
"""How much a filter would make, of those that may make more than they were given."""


def _join(eval_ctx: Any, value: Any, d: str = "", attribute: Any = None) -> Any:
    """Jinja's, but that the items are there before it is known how much they are together."""
    from jinja2.filters import do_join

    items = list(value)
    eval_ctx.environment.meter.allow(_weight([items, d], None) + len(str(d)) * len(items))
    return do_join(eval_ctx, items, d, attribute)


def _sum(environment: Any, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
    """Jinja's, with each addition measured: of lists, they copy all that came before."""
    from jinja2.filters import make_attrgetter

    get = None if attribute is None else make_attrgetter(environment, attribute)
    total = start
    for item in iterable:
        total = environment.call_binop(None, "+", total, item if get is None else get(item))
    return total


def _tojson(
    environment: Any,
    x: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers writes JSON, which templates are made for."""
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii,
        indent=_narrow(indent),
        separators=separators,
        sort_keys=sort_keys,
    )
    if indent is None and separators is None:
        return encoder.encode(x)
    return _concat(environment.meter, encoder.iterencode(x))


def _narrow(indent: int | str | None) -> int | str | None:
    if indent is not None and (indent if isinstance(indent, int) else len(indent)) > 100:
        raise TemplateLimitError("it indents by more than a prompt can be wide")
    return indent
