"""Ids of tests: the same in each process that collects them, and readable words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("unit", "conformance", "integration", "acceptance")
WORDS = re.compile(r"[A-Za-z0-9_.,:/+%= -]+")
"""Printable ASCII without quotes and brackets: safe in a shell, and in a report."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def collect(hash_seed: str) -> list[str]:
    """Collect the whole suite in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "--collect-only", "-q",
         *(f"tests/{folder}" for folder in FOLDERS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.fixture(scope="module")
def ids() -> list[str]:
    return collect("1")


def test_two_processes_collect_the_same_tests(ids: list[str]) -> None:
    # The second run begins seconds later: an id that holds a time differs by then.
    assert collect("2") == ids


def test_every_id_is_printable_words(ids: list[str]) -> None:
    parameters = {id: id.partition("[")[2].removesuffix("]") for id in ids}
    assert len(parameters) > 1000
    assert [id for id, words in parameters.items() if words and not WORDS.fullmatch(words)] == []
