"""Questions before something is erased."""

from __future__ import annotations

import sys

import pytest
import typer

from speechfleet.cli import output
from speechfleet.errors import InvalidRequest


class _Stream:
    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    questions: list[str] = []

    def confirm(question: str, *, err: bool) -> bool:
        assert err
        questions.append(question)
        return True

    monkeypatch.setattr(typer, "confirm", confirm)
    return questions


@pytest.mark.parametrize(
    ("stdin", "stderr", "yes", "is_asked"),
    [
        pytest.param(True, True, False, True, id="at a terminal"),
        pytest.param(True, True, True, False, id="agreed before"),
        pytest.param(True, False, True, False, id="agreed before, stderr in a file"),
        pytest.param(False, True, False, False, id="a script"),
        pytest.param(False, False, False, False, id="a script whose stderr is a file"),
    ],
)
def test_only_a_terminal_is_asked(
    stdin: bool, stderr: bool, yes: bool, is_asked: bool, asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdin", _Stream(is_terminal=stdin))
    monkeypatch.setattr(sys, "stderr", _Stream(is_terminal=stderr))
    output.confirm("Erase it?", yes=yes)
    assert asked == ["Erase it?"] * is_asked


def test_nothing_is_erased_where_the_question_would_not_be_seen(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", _Stream(is_terminal=True))
    monkeypatch.setattr(sys, "stderr", _Stream(is_terminal=False))
    with pytest.raises(InvalidRequest, match="--yes"):
        output.confirm("Erase it?", yes=False)
    assert asked == []
