"""The command line without a fleet that works: none, a wrong one, or one of its own."""

from __future__ import annotations

import json
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from speechfleet.audio import wav
from speechfleet.cli.app import run
from speechfleet.embedded import EmbeddedValkey
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.sync import Client
from tests.support.free_ports import free_port
from tests.support.program import PROGRAM, line, start

INFO = b"redis_version:7.0.0\r\nrun_id:x\r\ncluster_enabled:1\r\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data" / "speechfleet"


@pytest.fixture
def no_worker(redis_url: str, folder_store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", redis_url)
    monkeypatch.setenv("SPEECHFLEET_STORE", folder_store_url)
    return redis_url


class ClusterNode(socketserver.StreamRequestHandler):
    """Answers INFO as a node of a Redis Cluster does, and everything else with OK."""

    def handle(self) -> None:
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2])
            is_info = words[0].upper() == b"INFO"
            self.wfile.write(b"$%d\r\n%b\r\n" % (len(INFO), INFO) if is_info else b"+OK\r\n")


@pytest.fixture
def cluster() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), ClusterNode) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    assert run(arguments) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_redis_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"redis://:s3cret@127.0.0.1:{free_port()}"
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", url)
    said = refused(capsys, "say", "x", status=4)
    assert "cannot be reached" in said
    assert "s3cret" not in said
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "nonsense")
    assert "SPEECHFLEET_REDIS_URL" in refused(capsys, "say", "x")


def test_a_wrong_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedValkey(tmp_path / "valkey", port=free_port()) as server:
        for credentials in (":wr0ng@", ""):
            url = f"redis://{credentials}127.0.0.1:{urlsplit(server.url).port}/0"
            monkeypatch.setenv("SPEECHFLEET_REDIS_URL", url)
            said = refused(capsys, "submit", "x")
            assert "password" in said
            assert "wr0ng" not in said


def test_a_redis_cluster(
    cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", cluster)
    assert "Redis Cluster, which Celery's transport cannot use" in refused(capsys, "say", "x")
    assert run(["doctor"]) == 2
    assert "Redis Cluster" in capsys.readouterr().out


def test_a_store_that_is_missing_or_wrong(
    no_worker: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SPEECHFLEET_STORE")
    assert "SPEECHFLEET_STORE" in refused(capsys, "say", "x", "--id", "storeless")
    assert "no job 'storeless'" in refused(capsys, "status", "storeless", status=3)
    monkeypatch.setenv("SPEECHFLEET_STORE", "ftp://somewhere")
    assert "SPEECHFLEET_STORE" in refused(capsys, "say", "x")
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPEECHFLEET_STORE", (tmp_path / "file" / "store").as_uri())
    assert run(["doctor", "--json"]) == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    [store, *_] = [each for each in findings if each["subject"].startswith("store ")]
    assert store["verdict"] == "failure"
    assert store["mend"]


def test_doctor_tells_what_to_mend(no_worker: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "x"]) == 0
    assert "speechfleet worker" in capsys.readouterr().err
    with redis.Redis.from_url(no_worker) as server:
        server.config_set("maxmemory-policy", "allkeys-lru")
        server.config_set("appendonly", "no")
        try:
            assert run(["doctor", "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            server.config_set("maxmemory", 1 << 30)
            assert run(["doctor"]) == 2
        finally:
            server.config_set("maxmemory-policy", "noeviction")
            server.config_set("appendonly", "yes")
    verdicts = {each["subject"]: each["verdict"] for each in found["findings"]}
    assert verdicts == {
        "Redis": "ok",
        "Redis persistence": "warning",
        "Redis eviction": "warning",
        "workers": "warning",
        "queue speechfleet.1.live.local": "warning",
        "store": "ok",
    }


def test_an_extra_that_every_worker_lacks_is_told_at_once(
    no_worker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = WorkerInfo("boot", "host", 1, "0", (), 1, providers={"local": "pip install it"})
    with Client(redis_url=no_worker) as client:
        client._loop.run(client._async.ledger.workers.register(lacking))
    assert "'local': pip install it" in refused(capsys, "say", "x")


def test_a_job_that_waits_is_told_and_can_be_cancelled(
    no_worker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = start("say", "Anybody?", "--id", "waiting", stderr=subprocess.PIPE)
    assert line(waiting.stderr).startswith("it waits: no worker of this fleet serves 'local'")
    assert run(["status", "waiting"]) == 0
    assert "queued (no_worker)" in capsys.readouterr().out
    assert run(["cancel", "waiting", "--reason", "nobody comes"]) == 0
    _, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 1
    assert err == b"speechfleet: the job was cancelled: nobody comes\n"


def test_an_id_of_ones_own_outlives_ctrl_c(
    no_worker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = start("say", "Later.", "--id", "mine", stderr=subprocess.PIPE)
    assert line(waiting.stderr).startswith("it waits")
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=120)
    assert (waiting.returncode, err) == (130, b"speechfleet: interrupted\n")
    assert run(["status", "mine"]) == 0
    assert "queued" in capsys.readouterr().out


def test_say_brings_up_a_fleet_of_its_own(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["say", "Hello, nobody.", "-o", "hello.wav", "--id", "hello"]) == 0
    assert capsys.readouterr().out == "hello.wav\n"
    assert len(wav.decode((tmp_path / "hello.wav").read_bytes()).pcm) > 22_050
    # What it did can be looked at when it has ended, and what needs a worker says so.
    assert run(["show", "hello", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "SUCCEEDED"
    assert run(["listen", "hello", "-o", "again.wav"]) == 0
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "hello.wav").read_bytes()
    assert run(["doctor"]) == 0
    assert "bring one up on this machine" in capsys.readouterr().out


def test_without_a_loudspeaker_the_speech_goes_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class NoSound(Exception):
        pass

    def no_device(**settings: Any) -> None:
        raise NoSound

    stand_in = SimpleNamespace(
        PlaybackDevice=no_device,
        SampleFormat=SimpleNamespace(SIGNED16=2),
        MiniaudioError=NoSound,
    )
    monkeypatch.setitem(sys.modules, "miniaudio", stand_in)
    assert run(["say", "Silence.", "--play", "--id", "a/b"]) == 0
    out, err = capsys.readouterr()
    assert out == "a%2Fb.wav\n"
    assert "no audio device: the speech goes to a%2Fb.wav instead" in err
    assert len(wav.decode((tmp_path / "a%2Fb.wav").read_bytes()).pcm) > 22_050


def test_the_wire_servers_run_until_they_are_interrupted() -> None:
    servers = start("providers", "--fake")
    printed = []
    while (each := line(servers.stdout)) != "ready":
        printed.append(each.partition("=")[0])
    assert {"OPENAI_BASE_URL", "OPENAI_API_KEY", "DASHSCOPE_REALTIME_URL"} <= set(printed)
    servers.send_signal(signal.SIGINT)
    servers.communicate(timeout=120)
    assert servers.returncode == 0


def test_providers_and_voices(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "--json"]) == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)["providers"]}
    espeak, openai = rows["espeak/espeak-ng"], rows["openai/gpt-4o-mini-tts"]
    assert (espeak["ready"], espeak["sample_rate"]) == (True, 22_050)
    assert (openai["ready"], openai["reason"]) == (False, "set OPENAI_API_KEY")
    assert rows["dashscope/qwen3-tts-flash-realtime"]["streaming_input"] is True
    assert run(["providers"]) == 0
    assert "set DASHSCOPE_API_KEY" in capsys.readouterr().out
    assert run(["voices", "espeak/espeak-ng"]) == 0
    assert {"en-us", "de", "fr"} <= set(capsys.readouterr().out.split())


def test_up_twice_on_one_folder(tmp_path: Path) -> None:
    first = start("up", "--data", str(tmp_path / "one"), "--workers", "0")
    for _ in range(3):
        last = line(first.stdout)
    assert last == "ready"
    second = subprocess.run(
        [PROGRAM, "up", "--data", str(tmp_path / "one"), "--workers", "0"],
        capture_output=True,
        check=False,
    )
    assert (second.returncode, second.stdout) == (4, b"")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode == 0
