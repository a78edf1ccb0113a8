"""The command line on a whole fleet, brought up by its own `up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from speechfleet.audio import wav
from speechfleet.cli.app import run
from tests.support.program import PROGRAM, line, start
from tests.support.slow_model import CHUNK, audio
from tests.support.stage import PROVIDERS, ROOT

SLOW = ["--model", "slow/paced"]
Json = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A fleet of one worker, by `speechfleet up`; the settings that it prints."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
        "PYTHONPATH": str(ROOT),
        "SPEECHFLEET_PROVIDERS": PROVIDERS,
        "SPEECHFLEET_GRACE": "5",
    }
    data = tmp_path_factory.mktemp("up")
    process = start("up", "--data", str(data), "--workers", "1", env=environ)
    settings = dict(line(process.stdout).split("=", 1) for _ in range(2))
    assert list(settings) == ["SPEECHFLEET_REDIS_URL", "SPEECHFLEET_STORE"]
    assert line(process.stdout) == "ready"
    yield settings
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert (process.returncode, rest) == (0, b"")


@pytest.fixture
def fleet(up: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    for name, value in up.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SPEECHFLEET_PROVIDERS", PROVIDERS)
    monkeypatch.chdir(tmp_path)
    return up


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Json:
    """Runs a command with --json; its one object."""

    def told(*arguments: str, status: int = 0) -> dict[str, Any]:
        assert run([*arguments, "--json"]) == status
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return told


def test_say_tells_where_the_audio_is(fleet: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["say", "Hello from the command line."]) == 0
    out, err = capsys.readouterr()
    path = Path(out.strip().removeprefix("file://").replace("%25", "%"))
    assert wav.decode(path.read_bytes()).sample_rate == 24_000
    assert "s of speech by hibari/heart, audio/wav" in err


def test_each_language_is_spoken_by_a_voice_that_knows_it(fleet: object, told: Json) -> None:
    german = "Guten Tag, wie geht es Ihnen?"
    assert told("say", german, "-o", "a.wav")["spoken_by"] == ["espeak/espeak-ng (de)"]
    english = told("say", german, "-o", "b.wav", "--language", "en")
    assert english["spoken_by"] == ["hibari/heart"]
    assert told("say", german, "-o", "c.wav", "--voice", "heart")["spoken_by"] == ["hibari/heart"]
    both = told("say", "Hello there. 你好,世界。", "-o", "d.wav")
    assert both["spoken_by"] == ["hibari/heart", "espeak/espeak-ng (zh)"]


def test_say_writes_the_file_that_was_asked_for(fleet: object, tmp_path: Path, told: Json) -> None:
    told("say", "One, two.", "-o", "one.wav", "--id", "file")
    spoken = wav.decode((tmp_path / "one.wav").read_bytes())
    assert len(spoken.pcm) > 22_050
    told("say", "One, two.", "-o", "one.flac")
    assert (tmp_path / "one.flac").read_bytes()[:4] == b"fLaC"
    assert told("say", "One, two.", "-f", "pcm", "-o", "any.name")["output"] == "any.name"
    assert (tmp_path / "any.name").read_bytes() == spoken.pcm


def test_the_same_id_is_the_same_job(
    fleet: object, told: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    first = told("say", "Once.", "--id", "once")
    again = told("say", "Once.", "--id", "once")
    assert first == again
    assert first["state"] == "SUCCEEDED"
    assert first["usage"]["billed"] == len("Once.")
    assert run(["say", "Twice.", "--id", "once"]) == 2
    assert "another request" in capsys.readouterr().err


def test_audio_flows_down_a_pipe_while_it_is_made(
    fleet: object, told: Json, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    options = ["--option", f"held={end}", "--option", "chunks=5", "--id", "piped"]
    process = start("say", "Flow.", *SLOW, *options, "-o", "-", stderr=subprocess.PIPE)
    assert process.stdout is not None
    begun = process.stdout.read(960)
    assert begun[:4] == b"RIFF"
    assert told("status", "piped")["state"] == "RUNNING"
    end.touch()
    rest, err = process.communicate(timeout=120)
    assert process.returncode == 0
    heard = wav.decode(begun + rest)
    assert (len(heard.pcm), heard.sample_rate) == (5 * CHUNK, 24_000)
    assert heard.pcm == audio("Flow.", 5 * CHUNK)
    assert err == b"piped: 0.5 s of speech, audio/wav\n"


def test_redirected_audio_has_a_whole_header(fleet: object, tmp_path: Path) -> None:
    with (tmp_path / "out.wav").open("wb") as out:
        done = subprocess.run([PROGRAM, "say", "Whole.", *SLOW, "-o", "-"], stdout=out, check=True)
    assert done.returncode == 0
    data = (tmp_path / "out.wav").read_bytes()
    assert data == wav.encode(audio("Whole.", 5 * CHUNK), 24_000)


def test_text_from_stdin(fleet: object) -> None:
    done = subprocess.run(
        [PROGRAM, "say", *SLOW, "-f", "pcm", "-o", "-"],
        input="Größe".encode(), capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == audio("Größe", 5 * CHUNK)


def test_listening_replays_and_follows(
    fleet: object, tmp_path: Path, told: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    order = [*SLOW, "--option", "pace=0.1", "--id", "heard", "--format", "flac"]
    assert run(["submit", "Listen.", *order]) == 0
    assert capsys.readouterr().out == "heard\n"
    live = subprocess.run([PROGRAM, "listen", "heard", "-o", "-"], capture_output=True, check=True)
    late = subprocess.run(
        [PROGRAM, "listen", "heard", "-f", "pcm", "-o", "-"], capture_output=True, check=True
    )
    assert wav.decode(live.stdout).pcm == late.stdout == audio("Listen.", 5 * CHUNK)
    assert told("listen", "heard", "-o", "x.flac")["media_type"] == "audio/flac"
    assert (tmp_path / "x.flac").read_bytes()[:4] == b"fLaC"
    assert run(["listen", "heard", "-o", "x.wav"]) == 2
    assert "was spoken as flac" in capsys.readouterr().err


def test_a_job_that_fails_is_status_1(
    fleet: object, told: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    rejected = ["say", "No.", *SLOW, "--option", "fail=rejected"]
    assert run(rejected) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "speechfleet: slow: these words are not spoken here\n"
    assert told(*rejected, status=1)["code"] == "request_rejected"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--voice", "nobody"], "unknown voice 'nobody'"),
        (["--option", "tempo=3"], "unknown option 'tempo'"),
        (["--option", "rate=fast"], "option 'rate'"),
        (["--model", "espeak/other"], "unknown model 'other'"),
        (["--model", "nobody/x"], "unknown model 'nobody/x'"),
    ],
)
def test_what_only_the_fleet_knows_to_be_wrong_is_status_2(
    fleet: object, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["say", "x", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_what_no_worker_is_ready_for_is_not_waited_for(
    fleet: object, told: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["say", "x", "--model", "openai/tts-1", "--id", "unserved"]) == 2
    assert "set OPENAI_API_KEY" in capsys.readouterr().err
    assert run(["status", "unserved"]) == 3  # it was not submitted


def test_ctrl_c_ends_and_cancels(fleet: object, told: Json) -> None:
    order = ["--option", "pace=0.2", "--option", "chunks=1000", "-o", "-"]
    process = start("say", "Ctrl-C.", *SLOW, *order, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(wav.HEADER_BYTES)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, b"speechfleet: interrupted\n")
    assert told("jobs", "--state", "running")["jobs"] == []
    [newest, *_] = told("jobs", "--state", "cancelled")["jobs"]
    assert newest["message"] == "interrupted at the terminal"


def test_a_reader_that_leaves_ends_it_quietly(fleet: object, told: Json) -> None:
    order = ["--option", "pace=0.05", "--option", "chunks=2000", "-f", "pcm", "-o", "-"]
    process = start("say", "Leave.", *SLOW, *order, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(960)
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(120) == 141
    assert told("jobs", "--state", "running")["jobs"] == []


def test_the_life_of_a_job(fleet: object, told: Json, capsys: pytest.CaptureFixture[str]) -> None:
    long = [*SLOW, "--option", "pace=0.2", "--option", "chunks=1000", "--id", "life"]
    assert told("submit", "A long life.", *long)["id"] == "life"
    assert told("cancel", "life", "--reason", "enough")["cancelled"] is True
    assert told("cancel", "life")["cancelled"] is False
    assert run(["listen", "life"]) == 1
    assert "cancelled: enough" in capsys.readouterr().err
    assert told("retry", "life")["epoch"] == 2
    assert run(["retry", "life"]) == 2
    assert "only one that has ended can be retried" in capsys.readouterr().err
    assert told("cancel", "life")["state"] == "CANCELLED"
    shown = told("show", "life")
    events = [step["event"] for step in shown["story"]]
    assert events[0] == "submit"
    assert events.count("cancel") == 2
    assert events.count("retry") == 1
    assert run(["show", "life"]) == 0
    assert "A long life." in capsys.readouterr().out
    assert told("delete", "life")["deleted"] is True
    for command in ("status", "show", "listen", "cancel", "retry", "delete"):
        assert run([command, "life"]) == 3
        assert "no job 'life'" in capsys.readouterr().err


def test_show_tells_the_whole_story(fleet: object, told: Json) -> None:
    told("say", "First sentence here. Second sentence here.", "--id", "story/ü [x]", *SLOW)
    shown = told("show", "story/ü [x]")
    assert [step["event"] for step in shown["story"]] == ["submit", "claim", "finish"]
    assert [segment["text_end"] for segment in shown["segments"]] == [20, 42]
    [worker] = shown["workers"]
    assert worker in [alive["boot"] for alive in told("workers")["workers"]]
    assert shown["usage"]["billed"] == 41
    assert Path(shown["url"].removeprefix("file://").replace("%25", "%")).exists()


def test_tables_hold_whole_ids(fleet: object, capsys: pytest.CaptureFixture[str]) -> None:
    id = "i" * 256
    assert run(["submit", "x", *SLOW, "--id", id]) == 0
    assert run(["listen", id]) == 0
    capsys.readouterr()
    for command in (["jobs"], ["show", id], ["status", id]):
        assert run(command) == 0
        assert id in capsys.readouterr().out


def test_usage_and_counts(fleet: object, told: Json, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("Twelve chars", "Other chars."):
        before = told("usage")
        told("say", text, *SLOW)
        told("say", text, *SLOW)
        after = told("usage")
        if after["day"] == before["day"]:
            break
    used = after["models"]["slow/paced"]
    assert used["billed"] - before["models"].get("slow/paced", {}).get("billed", 0) == 12
    assert used["cached"] >= 12
    assert told("usage", "--day", "2020-02-29") == {
        "day": "2020-02-29",
        "models": {},
        "quota": None,
    }
    assert run(["usage"]) == 0
    assert "slow/paced" in capsys.readouterr().out
    found = told("jobs", "--state", "succeeded", "--count", "2")
    assert len(found["jobs"]) == 2
    assert found["counts"]["SUCCEEDED"] >= 2


def test_doctor_finds_it_healthy(
    fleet: object, told: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told("doctor")
    by_subject = {each["subject"]: each for each in found["findings"]}
    assert found["healthy"] is True
    for subject in ("Redis", "workers", "provider espeak", "provider slow", "store"):
        assert by_subject[subject]["verdict"] == "ok"
    mend = by_subject["provider openai"]["mend"]
    assert mend == "set OPENAI_API_KEY, where the workers run, and start them again"
    assert run(["doctor"]) == 0
    assert "provider espeak" in capsys.readouterr().out


def test_a_worker_of_ones_own_is_drained(
    fleet: dict[str, str], capsys: pytest.CaptureFixture[str], told: Json
) -> None:
    process = start("worker", "--lanes", "batch", "--concurrency", "3", stderr=subprocess.PIPE)
    word, boot = line(process.stdout).split()
    assert word == "ready"
    [mine] = [one for one in told("workers")["workers"] if one["boot"] == boot]
    assert (mine["pid"], mine["slots"]) == (process.pid, 3)
    assert all(".batch." in queue for queue in mine["queues"])
    assert run(["drain", "nobody"]) == 2
    assert boot in capsys.readouterr().err
    assert run(["drain", boot]) == 0
    assert capsys.readouterr().out == f"{boot}: draining\n"
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert boot not in [one["boot"] for one in told("workers")["workers"]]


def test_a_worker_without_lanes_serves_all_of_them(fleet: object, told: Json) -> None:
    """By two processes; one that dies takes the other along, drained."""
    process = start("worker", stderr=subprocess.DEVNULL)
    boots = {line(process.stdout).removeprefix("ready ") for _ in range(2)}
    mine = [one for one in told("workers")["workers"] if one["boot"] in boots]
    lanes = {one["pid"]: {queue.split(".")[2] for queue in one["queues"]} for one in mine}
    assert sorted(map(sorted, lanes.values())) == [["batch", "live"], ["session"]]
    [sessions] = [pid for pid, served in lanes.items() if served == {"session"}]
    os.kill(sessions, signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL
    [other] = lanes.keys() - {sessions}
    with pytest.raises(ProcessLookupError):
        os.kill(other, 0)


def test_a_worker_says_what_it_cannot_serve(fleet: object) -> None:
    done = subprocess.run(
        [PROGRAM, "worker", "--providers", "openai"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1].endswith("--providers openai: set OPENAI_API_KEY")
