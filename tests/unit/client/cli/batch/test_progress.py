"""The progress of a batch in a real terminal."""

from __future__ import annotations

import re
import sys

import pytest

from tests.support import terminal

PROGRAM = """
from types import SimpleNamespace
from speechfleet.cli.batch.progress import BatchProgress

spent = SimpleNamespace(characters=1200, money=0.5)
summary = SimpleNamespace(
    succeeded=28, failed=2, skipped=0, cached=4, seconds=60.0, spent=spent
)
batch = SimpleNamespace(summary=summary)
with BatchProgress(batch, SimpleNamespace(items=100), quiet=False):
    pass
"""


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "no colour"])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_counts_and_eta_stand_below_the_bar(width: int, colour: bool) -> None:
    status, output = terminal.run([sys.executable, "-c", PROGRAM], width, {}, colour=colour)
    assert status == 0, output
    shown = terminal.ESCAPE.sub("", output).replace("\r", "")
    bar, rest = shown.split("\n")[:2]
    line = re.split("[━╸╺]", rest)[0]  # what follows is the next time that it is drawn
    assert set(bar) <= {"━", "╸", "╺", " "}
    assert line.startswith("30/100  ETA 0:00:0"), shown
    assert len(line) <= width
    assert "…" not in line, "counts are whole, or left out"
    if width == 120:
        assert "0.50 spent" in line
