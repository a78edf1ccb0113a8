"""The programs of the documentation type-check strictly, as a user's would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.support.documents import EXAMPLES, README, ROOT, blocks

PROGRAMS = [str(path) for path in EXAMPLES]


def check(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def readme_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program of the README as a file."""
    (program,) = blocks(README.read_text("utf-8"), "python")
    path = tmp_path_factory.mktemp("readme") / "readme_program.py"
    path.write_text(program, "utf-8")
    return str(path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mypy_accepts_the_examples(readme_program: str) -> None:
    check([sys.executable, "-m", "mypy", "--strict", *PROGRAMS, readme_program])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pyright_accepts_the_examples(readme_program: str) -> None:
    if shutil.which("node") is None and "CI" not in os.environ:
        pytest.skip("pyright needs node on the PATH")
    arguments = ["--pythonpath", sys.executable, *PROGRAMS, readme_program]
    check([sys.executable, "-m", "pyright", *arguments])


MISTAKES = """
from speechfleet import Client

with Client.local() as fleet:
    fleet.submit("Hello.", format="mp4")
    fleet.submit("Hello.", model=3)
    fleet.submit("Hello.").result().duration.upper()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mypy_finds_the_mistakes_of_a_program(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = tmp_path_factory.mktemp("mistakes") / "mistakes.py"
    program.write_text(MISTAKES, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", str(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for line in (5, 6, 7):
        assert f"mistakes.py:{line}: error" in done.stdout, done.stdout
