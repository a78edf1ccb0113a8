"""The command line without a fleet: what it refuses, and how it says so."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from speechfleet.cli import output
from speechfleet.cli.app import run, status_of
from speechfleet.cli.options import provider_options
from speechfleet.cli.targets import EXTENSIONS, Target, write_file
from speechfleet.cli.texts import read_text
from speechfleet.errors import (
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobNotFound,
    MissingExtra,
    TextTooLong,
    UnknownFormat,
)
from speechfleet.jobs import FORMATS


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
        (["say", "x", "-o", "nowhere/speech.wav"], "cannot write to 'nowhere/speech.wav'"),
        (["say", "x", "-o", "."], "cannot write to '.'"),
        (["say", "x", "-o", "n" * 300 + ".wav"], "cannot write to"),
        (["say", "x", "-o", "-", "--json"], "both write to stdout"),
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
        assert target.format("flac") == "flac"
    assert Target.check(None, play=False, as_json=False).format(None) == "wav"
    assert Target.check("/dev/null", play=False, as_json=False).format(None) == "wav"
    with pytest.raises(UnknownFormat):
        Target.check(str(tmp_path / "x"), play=False, as_json=False).format(None)


def test_a_file_is_replaced_whole_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    write_file(path, b"old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path / "folder.wav", b"new")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "folder.wav", path]


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    write_file(Path("/dev/null"), b"gone")
    assert Path("/dev/null").is_char_device()


def test_playing_needs_its_extra(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "miniaudio", None)
    assert "pip install 'speechfleet[play]'" in refused("say", "x", "--play")


def test_a_worker_needs_its_extra(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechfleet.cli.running.find_spec", lambda name: None)
    assert "pip install 'speechfleet[worker]'" in refused("worker")
    assert "pip install 'speechfleet[worker]'" in refused("up")


def test_the_exit_status_of_an_error() -> None:
    assert status_of(JobFailed("...", code="provider_unavailable")) == 1
    assert status_of(JobFailed("...", code="authentication_failed")) == 1
    assert status_of(JobCancelled("...")) == 1
    assert status_of(JobFailed("...", code="unknown_voice")) == 2
    assert status_of(JobFailed("...", code="missing_extra")) == 2
    assert status_of(JobNotFound("...")) == 2
    assert status_of(InvalidRequest("...")) == 2
    assert status_of(MissingExtra("...", "s3")) == 2


def test_ctrl_c_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("speechfleet.cli.speaking.read_text", interrupted)
    assert run(["say"]) == 130
    assert "Traceback" not in capsys.readouterr().err


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
