"""The import graph: nothing imports upwards, nothing in a circle, nothing heavy at import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.package import FILES, PACKAGE, ROOT

# Data flows down this list; a part imports only from parts above it. A new part goes in here.
ORDER = (
    "exceptions",
    "_common",
    "images",
    "task",
    "turns",
    "config",
    "payload",
    "schemas",
    "signals",
    "catalog",
    "hub",
    "scoring",
    "fitting",
    "policies",
    "trace",
    "response",
    "counting",
    "guards",
    "backends",
    "ledger",
    "dispatch",
    "evaluation",
    "plugins",
    "client",
    "router",
    "testing",
    "demo",
    "cli",
)

# May be imported from below, on first use: who asks a scorer to learn calls a method of it.
ASKED_TO_LEARN = ("scoring", "fitting")

# What is only named, for type checkers, from above: values that hold or return what is made later.
NAMED_ONLY = {
    ("exceptions", "policies"): "an error holds the decision that it is about",
    ("exceptions", "trace"): "an error holds the trace of its call",
    ("trace", "response"): "a trace holds the answer",
    ("scoring", "fitting"): "a scorer learns from examples",
}

# Parts whose modules are leaves beside each other: each may import only these of its own part.
LEAVES = {"signals": ("base", "kind_table"), "backends": ("base",)}

# Libraries that take long to import: never at a module's top, and only in these modules.
HEAVY = {
    "litellm": "backends/hosted/*.py",
    "openai": "backends/hosted/*.py",
    "llama_cpp": "backends/llamacpp/*.py backends/llamacpp/engine/*.py",
    "llguidance": "backends/llamacpp/grammar/constraint.py",
    "jsonschema": "schemas/checking.py",
    "numpy": "*.py",
    "huggingface_hub": "hub/*.py",
    "httpx2": "*.py",
    "onnxruntime": "backends/clip/*.py",
    "PIL": "backends/clip/*.py",
    "tokenizers": "backends/clip/*.py",
    "pyarrow": "ledger/export.py",
    "sqlite3": "*.py",
    "phonenumbers": "signals/privacy/*.py",
    "stdnum": "signals/privacy/*.py",
}

When = Literal["import", "call", "typing"]


@dataclass(frozen=True)
class Import:
    """One import statement: who, whom, and when it is executed."""

    importer: str
    imported: str
    when: When
    place: str


def imports_of(source: str, importer: str, is_package: bool) -> Iterator[Import]:
    """Every import in a module, the function-level and the typing-only ones marked as such."""

    def walk(node: ast.AST, when: When) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                yield from walk(child, "typing")
            for child in node.orelse:
                yield from walk(child, when)
            return
        for name in names(node):
            place = f"{importer}:{getattr(node, 'lineno', 0)}"
            yield Import(importer, name, when, place)
        deferred = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from walk(child, "call" if deferred and when == "import" else when)

    def names(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = importer.split(".")[: None if is_package else -1]
                base = ".".join(up[: len(up) - node.level + 1] + ([base] if base else []))
            # `from package import name` may mean a module of that name.
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            called = node.func.id if isinstance(node.func, ast.Name) else called
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value)

    yield from walk(ast.parse(source), "import")


IMPORTS = [
    found
    for name, path in FILES.items()
    for found in imports_of(path.read_text("utf-8"), name, path.name == "__init__.py")
]


def resolved(name: str) -> str | None:
    """The module of this package that a dotted name is in, or ``None`` for another's."""
    while name.split(".")[0] == PACKAGE:
        if name in FILES:
            return name
        name = name.rpartition(".")[0]
    return None


def part(module: str) -> str | None:
    """``modelrouter.signals.kind`` is in the part ``signals``; the package itself in none."""
    return module.split(".")[1] if "." in module else None


def test_every_part_has_its_place_in_the_order() -> None:
    parts = {name for module in FILES if (name := part(module))} - {"__main__"}
    assert parts <= set(ORDER), f"add to ORDER: {sorted(parts - set(ORDER))}"


@pytest.mark.parametrize("importer", sorted(FILES))
def test_a_module_imports_only_from_above(importer: str) -> None:
    here = part(importer)
    if here is None:  # the package's face may name all of them, but not load any by itself
        loads = [i.place for i in IMPORTS if i.importer == importer and i.when == "import"]
        assert [i for i in loads if resolved(i)] == []
        return
    upward = [
        f"{found.place} imports {target}"
        for found in IMPORTS
        if found.importer == importer
        and found.when != "typing"
        and (target := resolved(found.imported)) is not None
        and (there := part(target)) is not None
        and there != here
        and not ((here, there) == ASKED_TO_LEARN and found.when == "call")
        and ORDER.index(there) >= ORDER.index(here)
    ]
    assert upward == []


def test_what_is_named_for_type_checkers_is_from_above_too_but_for_what_is_listed() -> None:
    named = {
        (here, there)
        for found in IMPORTS
        if found.when == "typing"
        and (here := part(found.importer)) is not None
        and (target := resolved(found.imported)) is not None
        and (there := part(target)) is not None
        and ORDER.index(there) > ORDER.index(here)
    }
    assert named == set(NAMED_ONLY)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(tree: ast.Module) -> set[str]:
    """Every private name that a module gives a meaning to."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)  # a slot
    return set(filter(is_private, found))


def test_no_part_uses_a_private_name_of_another() -> None:
    trees = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}
    own = {name: defined(tree) for name, tree in trees.items()}
    used = [
        f"{found.place} imports {found.imported}"
        for found in IMPORTS
        if (target := resolved(found.imported)) is not None
        and is_private(found.imported.removeprefix(f"{target}."))
        and found.imported not in FILES
        and part(target) != part(found.importer)
    ]
    for name, tree in trees.items():
        inside = set().union(*(own[n] for n in FILES if part(n) == part(name)))
        outside = set().union(*own.values()) - inside
        used += [
            f"{name}:{node.lineno} uses .{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in outside
            # What a class of this package inherits is its own.
            and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        ]
    assert used == []


@pytest.mark.parametrize("folder", sorted(LEAVES))
def test_leaf_siblings_do_not_import_each_other(folder: str) -> None:
    inside = f"{PACKAGE}.{folder}."

    def leaf(module: str) -> str | None:
        """A module is a leaf, and a folder is one."""
        if not module.startswith(inside):
            return None
        return module.removeprefix(inside).split(".")[0]

    sideways = [
        f"{found.place} imports {target}"
        for found in IMPORTS
        if (one := leaf(found.importer)) is not None
        and (target := resolved(found.imported)) is not None
        and (other := leaf(target)) is not None
        and other not in (one, *LEAVES[folder])
    ]
    assert sideways == []


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of more than one module that reach each other (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_no_cycle_at_import_time() -> None:
    edges: dict[str, set[str]] = {name: set() for name in FILES}
    for found in IMPORTS:
        target = resolved(found.imported)
        if found.when != "import" or target is None:
            continue
        # Importing a.b.c runs a and a.b first; a module's own packages are running already.
        while target:
            if target != found.importer and not found.importer.startswith(f"{target}."):
                edges[found.importer].add(target)
            target = target.rpartition(".")[0]
    assert cycles(edges) == []


@pytest.mark.parametrize("library", sorted(HEAVY))
def test_heavy_libraries_are_imported_on_first_use_and_in_their_backend(library: str) -> None:
    uses = [i for i in IMPORTS if i.imported.split(".")[0] == library and i.when != "typing"]
    assert [i.place for i in uses if i.when == "import"] == []
    strangers = [
        i.place
        for i in uses
        if not any(FILES[i.importer].relative_to(ROOT).match(at) for at in HEAVY[library].split())
    ]
    assert strangers == []


def test_the_reader_of_imports_sees_every_kind() -> None:
    """The checks above are worth as much as this reader."""
    source = """
import os
from modelrouter.task import Task
from . import base
from .base import Signals
if TYPE_CHECKING:
    from modelrouter.policies.decision import Decision
else:
    import litellm
class C:
    import numpy
    def method(self):
        import llama_cpp.server
        importlib.import_module("openai")
try:
    import anyio
except ImportError:
    pass
"""
    seen = {
        (found.imported, found.when)
        for found in imports_of(source, f"{PACKAGE}.signals.kind", is_package=False)
    }
    assert seen == {
        ("os", "import"),
        ("modelrouter.task.Task", "import"),
        ("modelrouter.signals.base", "import"),
        ("modelrouter.signals.base.Signals", "import"),
        ("modelrouter.policies.decision.Decision", "typing"),
        ("litellm", "import"),
        ("numpy", "import"),
        ("llama_cpp.server", "call"),
        ("openai", "call"),
        ("anyio", "import"),
    }
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
