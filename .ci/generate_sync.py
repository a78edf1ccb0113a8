"""Generates the synchronous client from the asynchronous one: ``python .ci/generate_sync.py``.

With ``--check`` it writes nothing, and exits with 1 where a file is out of date. Each public
method keeps its signature and its docstring; its body runs the asynchronous method on the
client's loop (`speechfleet.sync.base`).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "client" / "speechfleet"


@dataclass(frozen=True)
class Target:
    """One generated module: its source, and its classes as (asynchronous, synchronous)."""

    name: str
    source: str
    classes: tuple[tuple[str, str], ...]
    about: str


TARGETS = (
    Target(
        "job",
        "job.py",
        (("AsyncSpeech", "Speech"), ("JobTakes", "Job"), ("AsyncJob", "Job")),
        "A job",
    ),
    Target("session", "session.py", (("AsyncSession", "Session"),), "A session"),
    Target("batch", "batch/batch.py", (("AsyncBatch", "Batch"),), "A batch"),
    Target(
        "client",
        "client.py",
        (("FleetInspector", "Client"), ("AsyncClient", "Client")),
        "The client",
    ),
)
BASES = {"client": ("inspection.py", "FleetInspector"), "job": ("retakes.py", "JobTakes")}
"""By target, the file and the name of a base class whose methods the main class has, too."""
SYNC = {
    "AsyncJob": "Job",
    "AsyncSession": "Session",
    "AsyncBatch": "Batch",
    "AsyncSpeech": "Speech",
}
HOMES = {"Job": "job", "Speech": "job", "Session": "session", "Batch": "batch"}
INTERNAL = {
    "settings", "context", "ledger", "store", "namespace", "check_provider", "within", "open",
}  # fmt: skip
"""Members of the client that synchronous programs do not see."""
BY_HAND = {"close", "local"}
"""Methods of the client that `ClientBase` writes itself."""
ATTRIBUTES = {"AsyncJob": {"id": "str"}, "AsyncSession": {"id": "str", "job": "AsyncJob"}}
"""Public attributes that are set in a constructor, with their types."""


def synchronous(annotation: str) -> str:
    """Return a type as the synchronous client gives or takes it."""
    for asynchronous, own in SYNC.items():
        annotation = re.sub(rf"\b{asynchronous}\b", own, annotation)
    annotation = re.sub(
        r"\bAsyncGenerator\[(.+), None\]$", r"Generator[\1, None, None]", annotation
    )
    return annotation.replace("AsyncContextManager", "ContextManager")


def in_sync(docstring: str) -> str:
    """Return a docstring in the words of the synchronous client."""
    return re.sub(r"\bAsync(?=[A-Z])", "", docstring.replace("async with", "with"))


def wrapped(expression: str, annotation: str) -> str:
    """Return an expression that wraps a handle, or a list of them, in its synchronous class."""
    if annotation in SYNC:
        return f"{SYNC[annotation]}({expression}, self._loop)"
    match = re.fullmatch(r"list\[(\w+)\]", annotation)
    if match and match[1] in SYNC:
        return f"[{SYNC[match[1]]}(each, self._loop) for each in {expression}]"
    return expression


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the arguments that hand on what the method was given."""
    given = function.args
    parts = [arg.arg for arg in given.args[1:]]
    parts += [f"{arg.arg}={arg.arg}" for arg in given.kwonlyargs]
    if given.kwarg is not None:
        parts.append(f"**{given.kwarg.arg}")
    return ", ".join(parts)


def method(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the source of the synchronous twin of a method or property."""
    returns = ast.unparse(function.returns) if function.returns else "None"
    docstring = ast.get_docstring(function, clean=False)
    about = f'        """{in_sync(docstring)}"""\n' if docstring else ""
    name = function.name
    if is_property(function):
        body = f"return {wrapped(f'self._async.{name}', returns)}"
        head = f"    @property\n    def {name}(self) -> {synchronous(returns)}:\n"
        return f"{head}{about}        {body}\n"
    call = f"self._async.{name}({arguments(function)})"
    if returns.startswith("AsyncGenerator["):
        body = f"yield from self._loop.iterate({call})"
    elif isinstance(function, ast.AsyncFunctionDef):
        run = f"self._loop.run({call})"
        body = run if returns == "None" else f"return {wrapped(run, returns)}"
    else:
        body = f"return {wrapped(f'self._loop.call(lambda: {call})', returns)}"
    signature = ast.unparse(function.args)
    return (
        f"    def {name}({synchronous(signature)}) -> {synchronous(returns)}:\n"
        f"{about}        {body}\n"
    )


def is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(each) == "property" for each in function.decorator_list)


def public_methods(
    node: ast.ClassDef, without: set[str]
) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the public methods and properties of a class, in their order."""
    return [
        each
        for each in node.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        and not each.name.startswith("_")
        and each.name not in without
        and not any("classmethod" in ast.unparse(d) for d in each.decorator_list)
    ]


def fields(node: ast.ClassDef) -> list[str]:
    """Return properties for the fields of a dataclass."""
    return [
        f"    @property\n    def {each.target.id}(self) -> {ast.unparse(each.annotation)}:\n"
        f"        return self._async.{each.target.id}\n"
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not each.target.id.startswith("_")
    ]


def context_manager(name: str) -> str:
    return f"""
    def __enter__(self) -> {name}:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
"""


def attributes(name: str) -> list[str]:
    return [
        f"    @property\n    def {each}(self) -> {synchronous(annotation)}:\n"
        f"        return {wrapped(f'self._async.{each}', annotation)}\n"
        for each, annotation in ATTRIBUTES.get(name, {}).items()
    ]


def class_source(nodes: list[ast.ClassDef], own: str) -> str:
    """Return the synchronous class made of one or more asynchronous ones."""
    main = nodes[-1]
    client = own == "Client"
    base = "ClientBase" if client else f"SyncHandle[{main.name}]"
    docstring = ast.get_docstring(main, clean=False) or ""
    parts = [f'class {own}({base}):\n    """{in_sync(docstring)}"""\n']
    for node in nodes:
        parts += fields(node)
        parts += attributes(node.name)
    if own == "Session":
        parts.append(context_manager(own))
    without = INTERNAL | BY_HAND if client else set()
    parts += [method(each) for node in nodes for each in public_methods(node, without)]
    return "\n".join(parts)


def module(target: Target) -> str:
    """Return the source of a generated module, formatted."""
    sources = [target.source, *BASES.get(target.name, ())[:1]]
    trees = [ast.parse((PACKAGE / source).read_text("utf-8")) for source in sources]
    classes = {n.name: n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)}
    imports = {
        ast.unparse(node)
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) and "__future__" not in ast.unparse(node)
    }
    dotted = "speechfleet." + target.source.removesuffix(".py").replace("/", ".")
    names = [
        node.targets[0].id
        for node in trees[0].body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    local = [node.name for node in trees[0].body if isinstance(node, ast.ClassDef)] + names
    imports.add(f"from {dotted} import {', '.join(local)}")
    imports.add("from collections.abc import Generator")
    imports.add("from types import TracebackType")
    imports.add("from speechfleet.sync.base import ClientBase, SyncHandle")
    imports |= {
        f"from speechfleet.sync.{home} import {own}" for own, home in HOMES.items()
        if home != target.name
    }  # fmt: skip
    twins: dict[str, list[ast.ClassDef]] = {}
    for asynchronous, own in target.classes:
        twins.setdefault(own, []).append(classes[asynchronous])
    about = f"{target.about}, for programs without an event loop. Generated: see `make sync`."
    text = f'"""{about}"""\n\n'
    text += "from __future__ import annotations\n\n" + "\n".join(sorted(imports)) + "\n\n\n"
    text += "\n\n".join(class_source(nodes, own) for own, nodes in twins.items())
    return formatted(text, PACKAGE / "sync" / f"{target.name}.py")


def formatted(text: str, path: Path) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", str(path)]
    for command in (
        [*ruff, "check", "-q", "--select", "F401,I", "--fix-only", *name, "-"],
        [*ruff, "format", "-q", *name, "-"],
    ):
        text = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
    return text


def main() -> int:
    stale = []
    for target in TARGETS:
        path = PACKAGE / "sync" / f"{target.name}.py"
        text = module(target)
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv:
                path.write_text(text, "utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"out of date, run `make sync`: {', '.join(stale)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
