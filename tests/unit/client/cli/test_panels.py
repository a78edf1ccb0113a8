"""The panels of the help: they fit their screen, and show only what it can."""

from __future__ import annotations

import io

import pytest

from speechfleet.cli.panels import NAME, Screen, panel

ROWS = [("say", "Speak it: `some-llm | speechfleet session`, and more."), ("up", "Begin.")]


def test_a_panel_fits_its_screen() -> None:
    lines = list(panel(Screen(30, coloured=False, has_boxes=True), "Speech", ROWS, (NAME,), 6))
    assert lines == [
        "╭─ Speech ───────────────────╮",
        "│ say     Speak it: some-llm │",
        "│         | speechfleet      │",
        "│         session, and more. │",
        "│ up      Begin.             │",
        "╰────────────────────────────╯",
    ]


def test_code_keeps_its_colour_over_a_line_break() -> None:
    screen = Screen(30, coloured=True, has_boxes=True)
    lines = list(panel(screen, "Speech", ROWS, (NAME,)))
    code = [f"\x1b[{NAME}m{word}\x1b[0m" for word in ("some-llm", "|", "speechfleet")]
    assert all(any(word in line for line in lines) for word in code)
    assert any(" and more. " in line for line in lines)


def test_a_screen_without_boxes_gets_plain_lines() -> None:
    lines = list(panel(Screen(30, coloured=False, has_boxes=False), "Speech", ROWS, (NAME,)))
    assert (lines[0], lines[-1]) == ("+- Speech -------------------+", "+" + "-" * 28 + "+")
    assert "".join(lines).isascii()


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        pytest.param({}, False, id="a pipe"),
        pytest.param({"FORCE_COLOR": "1"}, True, id="asked for"),
        pytest.param({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, id="refused"),
    ],
)
def test_a_screen_is_asked_for_its_colours(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "COLUMNS": "72"}.items():
        monkeypatch.setenv(name, value)
    screen = Screen.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert screen == Screen(72, coloured, has_boxes=True)
