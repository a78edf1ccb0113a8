"""`speechfleet session`: a pipe of text in, a pipe of audio out, at the same time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from speechfleet import State
from speechfleet.audio import wav
from speechfleet.cli.app import run
from speechfleet.cli.sessions import _stdin
from speechfleet.errors import IllegalText
from tests.support.program import PROGRAM
from tests.support.stage import MODEL, PROVIDERS, Stage, spoken, staged

LINES = ["The first sentence is heard.", "While this one is being written."]


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, lanes=["session"]) as stage:
        yield stage


@pytest.fixture
def fleet(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    for name in ("SPEECHFLEET_REDIS_URL", "SPEECHFLEET_STORE"):
        monkeypatch.setenv(name, stage.fleet.environ[name])
    monkeypatch.setenv("SPEECHFLEET_PROVIDERS", PROVIDERS)
    monkeypatch.chdir(tmp_path)
    return stage


class Pipes:
    """The program between two pipes."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, "session", *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    @property
    def audio(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def end(self) -> tuple[int, bytes, str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err.decode()


def test_audio_comes_out_while_text_goes_in(
    fleet: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    pipes = Pipes("--model", MODEL, "--id", "piped", "-o", "-")
    pipes.write(LINES[0] + " While this one is")
    begun = pipes.audio.read(960)
    assert begun[:4] == b"RIFF"
    assert run(["jobs", "--sessions", "--json"]) == 0
    [held] = json.loads(capsys.readouterr().out)["sessions"]
    assert (held["id"], held["state"]) == ("piped", State.RUNNING)
    assert held["worker"] in {worker.boot_id for worker in fleet.fleet.workers}
    assert run(["jobs", "--sessions"]) == 0
    assert held["worker"] in capsys.readouterr().out
    pipes.write(LINES[1].removeprefix("While this one is"))
    status, rest, err = pipes.end()
    assert (status, err) == (0, "piped: 1.0 s of speech, audio/wav\n")
    assert wav.decode(begun + rest).pcm == spoken(LINES)


def test_ctrl_c_stops_the_speech(fleet: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    pipes = Pipes("--model", MODEL, "--option", "chunks=2000", "--id", "stopped", "-o", "-")
    pipes.write(" ".join(LINES))
    assert pipes.audio.read(960)
    pipes.process.send_signal(signal.SIGINT)
    status, _, err = pipes.end()
    assert status == 130
    assert f"stopped: 0 of {len(' '.join(LINES))} characters were spoken" in err
    assert err.endswith("speechfleet: interrupted\n")
    assert run(["status", "stopped", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["message"]) == (State.CANCELLED, "interrupted by a client")


def test_whoever_stops_listening_stops_the_speech(
    fleet: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    pipes = Pipes("--model", MODEL, "--option", "chunks=2000", "--id", "unheard", "-o", "-")
    pipes.write(" ".join(LINES))
    assert pipes.audio.read(960)
    pipes.audio.close()
    assert pipes.process.wait(timeout=120) == 128 + signal.SIGPIPE
    assert run(["status", "unheard"]) == 0
    assert "cancelled" in capsys.readouterr().out
    assert pipes.process.stderr is not None
    pipes.process.stderr.close()
    assert pipes.process.stdin is not None
    pipes.process.stdin.close()


def test_a_session_that_somebody_else_ends_is_over(fleet: Stage) -> None:
    pipes = Pipes("--model", MODEL, "--id", "ended", "-o", "-")
    pipes.write(" ".join(LINES))
    assert pipes.audio.read(960)
    assert run(["cancel", "ended", "--reason", "enough"]) == 0
    status, _, err = pipes.end()
    assert (status, err) == (1, "speechfleet: the job was cancelled: enough\n")


@pytest.mark.parametrize(
    ("text", "told"), [(b" \n", "nothing to say"), (b"caf\xe9 au lait", "not UTF-8")]
)
def test_what_cannot_be_said_is_bad_input(fleet: Stage, text: bytes, told: str) -> None:
    done = subprocess.run(
        [PROGRAM, "session", "--model", MODEL], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert told in done.stderr.decode()


def test_it_brings_up_a_fleet_of_its_own(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run(
        [PROGRAM, "session", "-o", "hello.flac", "--json"],
        input=" ".join(LINES).encode(), capture_output=True, check=False, env=environ,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == "hello.flac"
    assert (tmp_path / "hello.flac").read_bytes()[:4] == b"fLaC"


@pytest.fixture
async def written(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """The end of a pipe that is our stdin."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as reading, os.fdopen(theirs, "wb", buffering=0) as writing:
        monkeypatch.setattr(sys, "stdin", reading)
        yield writing
        writing.close()
        await asyncio.sleep(0)


async def test_characters_are_whole_however_they_come(written: IO[bytes]) -> None:
    data = "\ufeffGrüße".encode()
    texts = _stdin()
    written.write(data[:6])  # within the second byte of the ü
    assert await anext(texts) == "Gr"
    written.write(data[6:])
    assert await anext(texts) == "üße"
    written.close()
    assert [text async for text in texts] == []


async def test_a_character_that_never_ends_is_illegal(written: IO[bytes]) -> None:
    texts = _stdin()
    written.write("ü".encode()[:1])
    written.close()
    with pytest.raises(IllegalText, match="0xc3"):
        await anext(texts)
