"""README and pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PAGES = sorted([README, *DOCS.rglob("*.md"), *(ROOT / ".github").glob("*.md")])
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"\s*(?:[A-Z_]+=\S+ )*speechfleet(?: (.*))")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def page(name: str) -> str:
    """The text of a page of docs/."""
    return (DOCS / name).read_text("utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, without those that include a file."""
    return [body for kind, body in _BLOCK.findall(text) if kind == language and "8<--" not in body]


def code_spans(text: str) -> list[str]:
    """What stands between single backticks outside of blocks."""
    return _CODE.findall(_BLOCK.sub("", text))


def links(text: str) -> Iterator[tuple[str, str]]:
    """Target and anchor of each relative link and picture outside of blocks."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", text)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield path, anchor


def commands(text: str) -> Iterator[list[str]]:
    """The words of each ``speechfleet ...`` in blocks and code spans."""
    lines = [line for block in blocks(text, "shell") for line in _joined(block).splitlines()]
    for line in [*lines, *code_spans(text)]:
        for part in line.partition(" # ")[0].split(" | "):
            if match := _COMMAND.match(part):
                yield shlex.split(match[1])


def _joined(block: str) -> str:
    return block.replace("\\\n", " ")
