"""The map of the code: each file with the first sentence of its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docs.site.tables import first_sentence, table

ROOT = Path(__file__).parents[2]
PACKAGES = ("client/speechfleet", "worker/speechfleet_worker")


def code_map() -> str:
    """A table for each folder of the two packages."""
    return "\n\n".join(part for package in PACKAGES for part in _folders(ROOT / package) if part)


def _folders(folder: Path) -> Iterator[str]:
    rows = [
        (f"`{path.name}`", about) for path in sorted(folder.glob("*")) if (about := _about(path))
    ]
    if rows:
        about = _sentence(folder / "__init__.py")
        parts = [f"### {folder.relative_to(ROOT)}/", about, table(("file", "what it does"), rows)]
        yield "\n\n".join(part for part in parts if part)
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from _folders(below)


def _about(path: Path) -> str:
    if path.name in {"__init__.py", "__main__.py"}:
        return ""
    if path.suffix == ".py":
        return _sentence(path)
    return _lua_header(path) if path.suffix == ".lua" else ""


def _sentence(path: Path) -> str:
    if not path.exists():
        return ""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    return first_sentence(docstring).replace("``", "`")


def _lua_header(path: Path) -> str:
    """The first sentence of the comment that a script begins with."""
    lines = []
    for line in path.read_text("utf-8").splitlines():
        text = line.removeprefix("--").strip()
        if not line.startswith("--") or not text:
            break
        if not text.startswith("include:"):
            lines.append(text)
    return first_sentence(" ".join(lines))
