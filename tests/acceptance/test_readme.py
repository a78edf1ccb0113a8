"""The README's program does what it says, on a fleet that `speechfleet up` would bring."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from speechfleet import wav
from speechfleet.local import EmbeddedFleet

README = Path(__file__).parents[2] / "README.md"


def test_the_whole_program(tmp_path: Path) -> None:
    section = README.read_text("utf-8").split("## A whole program")[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    program = found[1]
    assert len(program.splitlines()) < 30
    with EmbeddedFleet(tmp_path, workers=1) as fleet:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**fleet.environ},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    *chunks, first, again = done.stdout.splitlines()
    sizes = [int(line.split()[0]) for line in chunks]
    assert sizes == sorted(sizes)
    assert "audio/wav" in first
    assert "SUCCEEDED" in again
    assert "'calls': 1" in again or "'calls': 2" in again


def test_a_provider_of_ones_own(tmp_path: Path) -> None:
    section = README.read_text("utf-8").split("## Add a provider")[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) <= 30
    (tmp_path / "beep.py").write_text(found[1])
    command = re.search(r"speechfleet (say .*)\n", section)
    assert command is not None
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "SPEECHFLEET_PROVIDERS": "beep=beep:BeepModel",
    }
    done = subprocess.run(
        [sys.executable, "-m", "speechfleet.cli", *shlex.split(command[1])],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    beeps = wav.decode((tmp_path / "beep.wav").read_bytes())
    assert (beeps.sample_rate, len(beeps.pcm)) == (24_000, 3 * 4800)


def test_over_http(tmp_path: Path) -> None:
    """As the README has it: `up` with a gateway, then curl, then OpenAI's package."""
    section = README.read_text("utf-8").split("## Over HTTP")[1]
    curl = re.search(r"```\n(curl .*?)```", section, re.DOTALL)
    program = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert curl is not None
    assert program is not None
    command = [sys.executable, "-m", "speechfleet.cli", "up", "--gateway", "0"]
    command += ["--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            lines = dict(map(told, iter(up.stdout.readline, "ready\n")))
            for words in (
                shlex.split(curl[1].replace("\\\n", "")),
                [sys.executable, "-c", program[1]],
            ):
                done = subprocess.run(
                    [word.replace("http://127.0.0.1:8080", lines["gateway"]) for word in words],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
        finally:
            up.terminate()
        assert up.wait(timeout=30) == 0
    assert (tmp_path / "hello.mp3").read_bytes()[:3] == b"ID3"
    assert wav.decode((tmp_path / "hello.wav").read_bytes()).sample_rate == 22_050


def told(line: str) -> tuple[str, str]:
    word, _, rest = line.strip().partition(" ")
    return word, rest
