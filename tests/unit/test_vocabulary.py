"""One vocabulary: no retired word in the sources, and docstrings in plain English."""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
PYTHON = sorted(
    path for folder in ("client", "worker", "docs") for path in (ROOT / folder).rglob("*.py")
)
LUA = sorted((ROOT / "client").rglob("*.lua"))
PAGES = sorted(
    path
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if path not in (GLOSSARY, ROOT / "docs" / "reference" / "code-map.md")
)
FIRST_SENTENCE_WORDS = 20
RIDDLE = re.compile(r"(What|Who|Whoever|Whether|Where|How|As|One (that|who)|That)\b")


def retired() -> Iterator[tuple[str, str]]:
    """The rows of the glossary's second table: word, and where it is refused."""
    table = GLOSSARY.read_text("utf-8").split("## Retired words")[1]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[2] in ("anywhere", "names"):
            yield cells[0], cells[2]


ANYWHERE = re.compile(
    "|".join(rf"\b{re.escape(word)}s?\b" for word, place in retired() if place == "anywhere"),
    re.IGNORECASE,
)
NAMES = {word for word, place in retired() if place == "names"}
WORDS_OF_A_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words_of(name: str) -> list[str]:
    """``HeartbeatTask_v2`` -> heartbeat, task, v."""
    return [word.lower() for word in WORDS_OF_A_NAME.findall(name)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def every(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=name_of)


def test_the_table_of_retired_words_is_read() -> None:
    words = dict(retired())
    assert words["purse"] == "anywhere"
    assert words["hub"] == "names"


@pytest.mark.parametrize(
    ("name", "words"),
    [("told_of", ["told", "of"]), ("TrackHub", ["track", "hub"]), ("BEATS", ["beats"])],
    ids=["snake", "camel", "constant"],
)
def test_names_are_taken_apart(name: str, words: list[str]) -> None:
    assert words_of(name) == words


@every([*PYTHON, *LUA, *PAGES])
def test_no_retired_word_stands_anywhere(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    found = [f"{n}: {line.strip()}" for n, line in enumerate(lines, 1) if ANYWHERE.search(line)]
    assert found == []


@every(PYTHON)
def test_no_name_is_a_retired_word(path: Path) -> None:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
    found = {
        f"{token.start[0]}: {token.string}"
        for token in tokens
        if token.type == tokenize.NAME
        and not keyword.iskeyword(token.string)
        and NAMES.intersection(words_of(token.string))
    }
    assert sorted(found) == []


@every(LUA)
def test_no_name_of_a_script_is_a_retired_word(path: Path) -> None:
    found = set()
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        code = re.sub(r"'[^']*'|\"[^\"]*\"", "", line.partition("--")[0])
        for name in re.findall(r"[A-Za-z_]\w*", code):
            if NAMES.intersection(words_of(name)):
                found.add(f"{number}: {name}")
    assert sorted(found) == []


@every([*PYTHON, *LUA])
def test_no_module_is_named_by_a_retired_word(path: Path) -> None:
    assert not NAMES.intersection(words_of(path.stem))


@every(PYTHON)
def test_docstrings_say_it_plainly(path: Path) -> None:
    found = []
    for line, docstring in docstrings(path):
        if RIDDLE.match(docstring):
            found.append(f"{line}: begins with a riddle: {docstring[:60]}")
        if len(first_sentence(docstring).split()) > FIRST_SENTENCE_WORDS:
            found.append(f"{line}: over {FIRST_SENTENCE_WORDS} words: {docstring[:60]}")
    assert found == []


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and first paragraph of each docstring, also of constants and fields."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, " ".join(text.strip().partition("\n\n")[0].split())


def first_sentence(docstring: str) -> str:
    return re.split(r"(?<=[.:;]) (?=[A-Z`])|: ", docstring, maxsplit=1)[0]
