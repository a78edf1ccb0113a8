"""Tables of the command line: what is never cut, and what is told where there is none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from speechfleet.cli import output
from speechfleet.cli.batch.progress import speech_time
from speechfleet.cli.jobs import used_models
from speechfleet.cli.tables import print_table

COMMAND = "pip install 'speechfleet[elevenlabs]'"
PATH = "/home/somebody/.local/share/speechfleet/store/audio/default"


def drawn(width: int, *rows: tuple[str, ...]) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width)
    print_table(console, ("subject", "verdict", "found", "what to do"), rows, keys=2, folds=2)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_word_of_a_command_is_cut(width: int) -> None:
    lines = drawn(
        width, ("provider elevenlabs", "warning", "not ready", COMMAND), ("data", "ok", PATH, "")
    )
    assert any("'speechfleet[elevenlabs]'" in line for line in lines)
    assert all(len(line) <= width for line in lines)


def test_a_program_gets_no_blanks_at_line_ends() -> None:
    file = io.StringIO()
    rows = [("redis", "ok", "a found thing"), ("a store", "warning", "")]
    print_table(Console(file=file, width=300), ("subject", "verdict", "found"), rows)
    assert file.getvalue() == (
        "subject  verdict  found\nredis    ok       a found thing\na store  warning\n"
    )


def test_a_long_path_alone_does_not_stack_a_table() -> None:
    assert drawn(80, ("data folder", "ok", PATH, ""))[0].startswith("subject")


def test_a_table_without_rows_says_so_beside_the_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.table(("name", "hash"), [], nothing="there are no keys")
    assert capsys.readouterr() == ("", "there are no keys\n")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.0 s"), (1.94, "1.9 s"), (75, "0:01:15"), (7322, "2:02:02")]
)
def test_the_length_of_speech_is_shown_in_its_own_unit(seconds: float, shown: str) -> None:
    assert speech_time(seconds) == shown


def test_a_model_that_was_refused_is_no_line_of_the_bill() -> None:
    sums = {"hibari/hart": {"billed": 0, "calls": 0}, "hibari/heart": {"billed": 0, "calls": 1}}
    assert list(used_models(sums)) == ["hibari/heart"]
