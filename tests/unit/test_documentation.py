"""What README and documentation say is there, is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from docs.site.generate import DRAWINGS
from docs.site.tables import TRANSITION_SCRIPTS, error_kinds, table
from pydantic.fields import FieldInfo
from typer.main import get_command

from speechfleet.audio.formats import FORMATS
from speechfleet.chunks import ENTRIES
from speechfleet.cli.app import app
from speechfleet.gateway.errors import GatewayError
from speechfleet.lifecycle import Event
from speechfleet.settings import Settings
from tests.support.documents import (
    PAGES,
    README,
    ROOT,
    blocks,
    code_spans,
    commands,
    links,
    name_of,
    page,
)

README_LINES = 200
JOB_SCRIPTS = ROOT / "client" / "speechfleet" / "ledger" / "lua" / "job"
SOURCES = re.compile(r"(?:client|worker|tests|docs|\.github|\.ci)/[\w./-]*\w/?")
SOURCE_FILES = [path for folder in ("client", "worker") for path in (ROOT / folder).rglob("*.py")]
BESIDE_ITS_SOURCE = re.compile(
    r"`(?P<file>[\w/]+\.py)`,?\s\s*\(?`(?P<name>[a-z_]+)`"
    r"|`(?:\w+\.)?(?P<function>[a-z_]+)`\s+(?:in\s+|\()`(?P<of>[\w/]+\.py)`"
)
"""A function beside the file that it is in: "`file.py` (`name`)", "`name` in `file.py`"."""
EVERY_PAGE = pytest.mark.parametrize("path", PAGES, ids=name_of)


def test_the_readme_stays_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("field", Settings.model_fields.items(), ids=lambda field: field[0])
def test_every_setting_is_documented_with_its_default(field: tuple[str, FieldInfo]) -> None:
    name, info = field
    lines = page("reference/settings.md").splitlines()
    rows = [line for line in lines if f"`SPEECHFLEET_{name.upper()}`" in line]
    assert rows, name
    assert info.description or rows[0].split("|")[3].strip()
    if isinstance(info.default, int | float) and not isinstance(info.default, bool):
        assert f"{info.default:g}" in rows[0] or str(int(info.default)) in rows[0]


def test_every_format_is_in_the_table_of_a_job() -> None:
    [row] = [line for line in page("guides/jobs.md").splitlines() if line.startswith("| `format`")]
    assert list(FORMATS) == code_spans(row.split("|")[3])


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_entry_of_the_stream_is_documented_with_its_fields(kind: str) -> None:
    lines = page("reference/chunk-stream.md").splitlines()
    row = next(line for line in lines if line.startswith(f"| `{kind}`"))
    for name in (field.name for field in fields(ENTRIES[kind])):
        assert name in row


def test_every_error_has_advice() -> None:
    advice = code_spans(page("guides/troubleshooting.md"))
    roots = {"error", "invalid_request", "provider_error", "store_error"}
    missing = {
        kind.code
        for _, kind in error_kinds()
        if kind.__module__.startswith("speechfleet.") and not issubclass(kind, GatewayError)
    } - {*advice, *roots}
    assert missing == set()


def test_every_metric_that_is_named_exists() -> None:
    known = set(re.findall(r"speechfleet_\w+", page("reference/metrics.md")))
    for path in PAGES:
        named = set(re.findall(r"\bspeechfleet_[a-z_]+\w", path.read_text("utf-8")))
        assert {
            name for name in named - known if not name.startswith("speechfleet_worker")
        } == set()


def test_generated_tables_and_drawings_are_up_to_date() -> None:
    command = [sys.executable, "-m", "docs.site.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("event", Event)
def test_the_table_of_transitions_names_the_scripts_that_make_them(event: Event) -> None:
    scripts = {path.name: path.read_text("utf-8") for path in JOB_SCRIPTS.glob("*.lua")}
    moves = re.compile(rf"^[^-]*(move|write_history|local event).*'{event}'", re.MULTILINE)
    if event is Event.CANCEL:  # the prelude's function makes it
        moves = re.compile(r"^[^-]*\bcancel\(", re.MULTILINE)
    makers = {name for name, text in scripts.items() if moves.search(text)} - {"prelude.lua"}
    assert makers == set(TRANSITION_SCRIPTS[event])


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_drawings_are_complete_svg(draw: Callable[[], str]) -> None:
    drawing = ElementTree.fromstring(draw())  # noqa: S314 # our own
    assert drawing.findtext("{http://www.w3.org/2000/svg}title")


def test_a_table_keeps_to_its_cells() -> None:
    assert table(("a", "b"), [("x|y", "two\nlines")]).splitlines() == [
        "| a | b |",
        "|---|---|",
        "| x\\|y | two lines |",
    ]


@EVERY_PAGE
def test_links_lead_somewhere(path: Path) -> None:
    for target, _ in links(path.read_text("utf-8")):
        assert not target or (path.parent / target).exists(), target


@EVERY_PAGE
def test_every_source_that_is_named_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    for name in SOURCES.findall(" ".join([*code_spans(text), *blocks(text, "shell")])):
        assert (ROOT / name).exists(), name


def test_every_function_that_is_named_beside_its_source_is_there() -> None:
    text = page("concepts/life-of-a-job.md")
    named = [
        (found["file"] or found["of"], found["name"] or found["function"])
        for found in BESIDE_ITS_SOURCE.finditer(text)
    ]
    assert len(named) > 5
    for source, function in named:
        written = [path.read_text("utf-8") for path in SOURCE_FILES if path.match(source)]
        defined = re.compile(rf"^\s*(?:(?:async )?def )?{function}\s*[(:=]", re.MULTILINE)
        assert any(map(defined.search, written)), (source, function)


@EVERY_PAGE
def test_no_formatter_took_an_included_file_for_python(path: Path) -> None:
    assert "8 < --" not in path.read_text("utf-8")


@EVERY_PAGE
def test_programs_compile(path: Path) -> None:
    for program in blocks(path.read_text("utf-8"), "python"):
        compile(program, name_of(path), "exec")


@EVERY_PAGE
def test_every_command_exists_with_its_options(path: Path) -> None:
    for words in commands(path.read_text("utf-8")):
        command, rest = found(get_command(app), words)
        known = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
        assert used <= known | {"--help", "-h", "--version"}, words


def found(command: Any, words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words that follow its name."""
    while words and (below := getattr(command, "commands", {})):
        if words[0].startswith("-") and "run" not in below:
            break
        if words[0] in below:
            command, words = below[words[0]], words[1:]
        elif "run" in below:  # batch CORPUS
            command = below["run"]
        else:
            raise AssertionError(f"there is no command {words[0]!r}")
    return command, words


@EVERY_PAGE
def test_every_target_of_make_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = path.read_text("utf-8")
    for line in [*code_spans(text), *"\n".join(blocks(text, "shell")).splitlines()]:
        if match := re.match(r"make ([a-z-]+)", line):
            assert match[1] in targets, line
