"""The command line without a fleet: what it refuses, and how it says so."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from speechfleet.audio.file_names import EXTENSIONS
from speechfleet.audio.formats import FORMATS
from speechfleet.cli import connect, output
from speechfleet.cli.app import GROUPS, run
from speechfleet.cli.exit_status import ExitStatus
from speechfleet.cli.options import provider_options
from speechfleet.cli.overview import print_help
from speechfleet.cli.targets import Target
from speechfleet.cli.texts import read_text
from speechfleet.client import AsyncClient
from speechfleet.errors import (
    InvalidRequest,
    MisconfiguredError,
    TextTooLong,
    UnknownFormat,
)
from speechfleet.settings import Settings


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that has to fail as bad input does; its one line on stderr."""

    def refused(*arguments: str) -> str:
        assert run(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("speechfleet: ")
        assert err.count("\n") == 1
        return err

    return refused


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["say", ""], "nothing to say"),
        (["say", " \n\t"], "nothing to say"),
        (["say", "a\x1bb"], "U+001B at position 1"),
        (["say", "a\udcffb"], "U+DCFF at position 1"),
        (["say", "x", "--id", ""], "1 to 256 characters"),
        (["say", "x", "--id", "a\nb"], "1 to 256 characters"),
        (["say", "x", "--id", "a\udcff"], "1 to 256 characters"),
        (["say", "x", "--id", "i" * 257], "1 to 256 characters"),
        (["say", "x", "--model", "espeak"], "provider/model"),
        (["say", "x", "--model", "espeak/\udcff"], "the model holds a control character"),
        (["say", "x", "--voice", "\udcff"], "the voice holds a control character"),
        (["say", "x", "--format", "wave"], "unknown format 'wave'; did you mean wav"),
        (["say", "x", "-o", "speech.doc"], "unknown format '.doc'"),
        (["say", "x", "-o", "ep.m4a"], "unknown format '.m4a'"),
        (["say", "x", "-o", "x.wav", "-f", "mp3"], "contradict each other: name it .mp3"),
        (
            ["say", "x", "-o", "nowhere/speech.wav"],
            "cannot write to 'nowhere/speech.wav': there is no folder 'nowhere'",
        ),
        (["say", "x", "-o", "."], "cannot write to '.': it is a folder"),
        (["say", "x", "-o", "n" * 300 + ".wav"], "file name too long"),
        (["say", "x", "--lane", "fast"], "unknown lane 'fast'"),
        (["say", "x", "--lane", "session"], "unknown lane 'session'"),
        (["say", "x", "--option", "speed"], "NAME=VALUE"),
        (["say", "x", "--option", "voice=y"], "use --voice"),
        (["say", "x", "--loud"], "No such option"),
        (["say", "x", "y"], "unexpected extra argument"),
        (["shout"], "No such command"),
        (["submit", ""], "nothing to say"),
        (["jobs", "--state", "lost"], "unknown state 'lost'"),
        (["jobs", "--count", "0"], "--count"),
        (["usage", "--day", "yesterday"], "YYYY-MM-DD"),
        (["drain"], "or --all"),
        (["drain", "boot", "--all"], "or --all"),
        (["voices", "nobody/x"], "unknown model 'nobody/x'"),
        (["up", "--workers", "-1"], "--workers"),
        (["up", "--lanes", "fast"], "unknown lane 'fast': it is live, batch or session"),
        (["worker", "--lanes", "fast"], "unknown lane 'fast': it is live, batch or session"),
        (["worker", "--lanes", "live,session"], "serves sessions alone"),
        (["worker", "--log-level", "LOUD"], "unknown log level 'LOUD': it is DEBUG, INFO"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    refused: Callable[..., str], arguments: list[str], said: str
) -> None:
    assert said in refused(*arguments)


@pytest.mark.parametrize(
    "command",
    [
        ["submit", "x"],
        ["listen", "x"],
        ["status", "x"],
        ["show", "x"],
        ["cancel", "x"],
        ["retry", "x"],
        ["delete", "x"],
        ["jobs"],
        ["usage"],
        ["workers"],
        ["drain", "--all"],
        ["worker"],
        ["env"],
        ["flower"],
    ],
)
def test_without_redis_it_says_what_to_set(
    refused: Callable[..., str], command: list[str]
) -> None:
    assert "SPEECHFLEET_REDIS_URL" in refused(*command)


def test_a_wrong_setting_is_named(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHFLEET_MAX_TEXT", "many")
    assert "SPEECHFLEET_MAX_TEXT" in refused("say", "x")


def test_more_text_than_the_setting_allows(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, b"x" * 5_000_001)
    assert "5,000,001 characters" in refused("say", "-")
    monkeypatch.setenv("SPEECHFLEET_MAX_TEXT", "3")
    assert "SPEECHFLEET_MAX_TEXT" in refused("say", "four")


def test_an_endless_stdin_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # its one overload
            buffer[:] = b"y" * len(buffer)
            return len(buffer)

        def readable(self) -> bool:
            return True

    endless = io.TextIOWrapper(io.BufferedReader(Endless()))
    monkeypatch.setattr(sys, "stdin", endless)
    with pytest.raises(TextTooLong, match="more than 1,000 characters"):
        read_text(None, 1_000)


def test_text_that_is_not_utf8(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, b"abc\xff")
    assert "byte 3 is 0xff" in refused("say")


@pytest.mark.parametrize(
    ("argument", "piped", "text"),
    [
        ("given", b"piped", "given"),
        ("-", b"piped", "piped"),
        (None, "\ufeffmit BOM, häßlich".encode(), "mit BOM, häßlich"),
    ],
)
def test_where_text_comes_from(
    monkeypatch: pytest.MonkeyPatch, argument: str | None, piped: bytes, text: str
) -> None:
    stdin(monkeypatch, piped)
    assert read_text(argument, 100) == text


def test_options_are_json_or_strings() -> None:
    options = provider_options(["speed=1.5", "tone=calm", 'tags=["a", "b"]', "formula=a=b"])
    assert options == {"speed": 1.5, "tone": "calm", "tags": ["a", "b"], "formula": "a=b"}


def test_the_format_of_an_output(tmp_path: Path) -> None:
    assert set(EXTENSIONS.values()) == set(FORMATS)
    for extension, format in EXTENSIONS.items():
        target = Target.check(str(tmp_path / f"x{extension.upper()}"), play=False, as_json=False)
        assert target.format(None) == format
        assert target.format(format.upper()) == format
        with pytest.raises(InvalidRequest, match="contradict each other"):
            target.format("flac" if format != "flac" else "mp3")
    assert Target.check(None, play=False, as_json=False).format(None) == "wav"
    assert Target.check("/dev/null", play=False, as_json=False).format(None) == "wav"
    with pytest.raises(UnknownFormat):
        Target.check(str(tmp_path / "x"), play=False, as_json=False).format(None)


def test_playing_needs_its_extra(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "miniaudio", None)
    assert "pip install 'speechfleet[play]'" in refused("say", "x", "--play")


def test_ctrl_c_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("speechfleet.cli.speaking.read_text", interrupted)
    assert run(["say"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_the_help_is_that_of_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed from lists, so that it waits for none of their imports."""
    assert run(["--help"]) == 0
    whole = _words_by_panel(capsys.readouterr().out)
    assert print_help() == 0
    assert _words_by_panel(capsys.readouterr().out) == whole
    assert list(whole) == ["", "Options", *GROUPS]


def _words_by_panel(printed: str) -> dict[str, list[str]]:
    """Read a help without its look, which differs between versions of typer."""
    found: dict[str, list[str]] = {"": []}
    for line in printed.splitlines():
        if line.startswith("╭"):
            found[line.strip("╭─╮ ")] = []
        else:
            found[list(found)[-1]] += line.strip("│╰─╯").replace("TEXT", "<str>").split()
    return {
        panel: sorted(word for word in words if word != "<bool>") for panel, words in found.items()
    }


def test_the_help_of_a_pipe_that_nobody_reads_ends_quietly() -> None:
    code = (
        "import os, sys, speechfleet_command\n"
        "sys.argv = ['speechfleet', '--help']\n"
        "speechfleet_command.main()\n"
    )
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (ExitStatus.NO_READER, "")


def test_the_help_imports_no_command() -> None:
    code = (
        "import sys, speechfleet_command\n"
        "sys.argv = ['speechfleet', '--help']\n"
        "try:\n    speechfleet_command.main()\n"
        "finally:\n    print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"redis", "pydantic", "numpy", "asyncio", "typer", "rich"})
    commands = {name for name in loaded if name.startswith("speechfleet.cli.")}
    assert commands == {
        f"speechfleet.cli.{name}" for name in ("exit_status", "overview", "panels")
    }


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("speechfleet 0.")
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    for name in (
        "say submit listen status cancel retry delete show jobs usage up worker workers drain "
        "doctor providers voices"
    ).split():
        assert f" {name} " in told
        assert run([name, "--help"]) == 0
        assert f"speechfleet {name}" in capsys.readouterr().out


def test_a_provider_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.error("\x1b[2Jline one\nline two\udcff")
    output.table(("id",), [["[bold]\x1b[31m"]])
    out, err = capsys.readouterr()
    assert err == "speechfleet: \\x1b[2Jline one line two\\udcff\n"
    assert "[bold]\\x1b[31m" in out


def test_somebody_who_gives_the_name_of_a_file_is_told_how_to_speak_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my book.txt").write_text("Hello.")
    run(["submit", "my book.txt"])
    assert "`speechfleet say < 'my book.txt'` speaks the text" in capsys.readouterr().err


def test_the_help_shows_tabs_and_brackets_as_they_are_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["say", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "[[TEXT]]" not in shown
    assert "written, a tab, spoken" in shown
    assert "<list[str]>" not in shown


def test_a_terminal_is_told_that_a_fleet_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    @contextmanager
    def fleet(*_: object, **__: object) -> Iterator[Settings]:
        assert shown == [connect.STARTING]
        yield Settings()

    monkeypatch.setattr(output.Progress, "update", lambda _, line: shown.append(line))
    monkeypatch.setattr(connect, "running_fleet", fleet)
    with connect.settings_of_fleet(start=True):
        pass


async def test_what_a_worker_lacks_is_told_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Client:
        async def workers(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(providers={"openai": "set OPENAI_API_KEY"})]

    with pytest.raises(MisconfiguredError, match="OPENAI_API_KEY, then run this command again"):
        await connect.check_served(cast(AsyncClient, Client()), "openai/tts-1")
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "redis://localhost")
    with pytest.raises(MisconfiguredError, match="where its workers start, and start them again"):
        await connect.check_served(cast(AsyncClient, Client()), "openai/tts-1")
