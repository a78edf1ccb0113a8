"""The compose file's own services, with their very commands, environments and health checks.

The servers are a real Valkey and moto, at other addresses than the file's; moto checks no
signatures, so that the credentials are right is not proven here. Ports are free ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from speechfleet import Client, Lane
from speechfleet.embedded import EmbeddedValkey
from speechfleet.gateway.access import digest, make_key
from speechfleet.ledger.message import TASK
from speechfleet.sync import Speech
from tests.support import moto_server
from tests.support.free_ports import free_port

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
KEY = make_key()
SECRETS = {
    "AWS_ACCESS_KEY_ID": "speechfleet",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "SPEECHFLEET_GATEWAY_KEYS": f"default={digest(KEY)}",
    "FLOWER_PASSWORD": "guarded",
    "REDIS_PASSWORD": "secret",
}
BIN = Path(sys.executable).parent
ENTRYPOINT = ["speechfleet"]  # the Dockerfile's
WITHIN = 120.0


@pytest.fixture(scope="module")
def led(tmp_path_factory: pytest.TempPathFactory, moto_url: str) -> Iterator[dict[str, str]]:
    """What stands in the file -> what is here."""
    moto_server.reset(moto_url)
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey"), port=free_port()) as server:
        yield {
            "redis://:secret@redis:6379/0": server.url,
            "http://object-store:8333": moto_url,
            "0.0.0.0": "127.0.0.1",  # noqa: S104 # replaced
            **{port: str(free_port()) for port in ("8080", "5555")},
        }


def here(text: str, led: dict[str, str]) -> str:
    """A value of the file with its variables and addresses filled in."""
    text = re.sub(r"\$\{(\w+):\?[^}]*}", lambda match: SECRETS[match[1]], text)
    text = re.sub(r"\$\{\w+:-([^}]*)}", r"\1", text)
    for there, instead in led.items():
        text = text.replace(there, instead)
    return text


class Service:
    """One of the file's services, running here."""

    def __init__(self, name: str, led: dict[str, str], home: Path) -> None:
        self._service, self._led, self._home = OURS[name], led, home
        environment = {name: here(v, led) for name, v in self._service["environment"].items()}
        self.environment = {
            **environment,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(home),
        }
        command = [*self._service.get("entrypoint", ENTRYPOINT), *self._service["command"]]
        self.log = home / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = self._start(command, stdout=subprocess.PIPE, stderr=log)

    def _start(self, command: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
        command = [here(part, self._led) for part in command]
        return subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], env=self.environment, cwd=self._home, **pipes
        )

    def healthy(self) -> None:
        """Once its own health check says so, within the time that the file leaves for a start."""
        end = time.monotonic() + WITHIN
        while True:
            kind, *check = self._service["healthcheck"]["test"]
            assert kind == "CMD"
            probe = self._start(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            told, _ = probe.communicate(timeout=WITHIN)
            if probe.returncode == 0:
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, told.decode()

    def ready(self) -> None:
        """Once it says that it takes jobs."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(b"ready "), self.log.read_text()


@contextmanager
def running(name: str, led: dict[str, str], home: Path) -> Iterator[Service]:
    service = Service(name, led, home)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.communicate()


def drained(service: Service) -> None:
    service.process.terminate()
    assert service.process.wait(WITHIN) == 0, service.log.read_text()


def environment(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    """A client's, like the service's own."""
    for name, value in service.environment.items():
        if name.startswith(("SPEECHFLEET_", "AWS_")):
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("worker")])
def test_a_worker_speaks_its_lane_and_drains(
    name: str, led: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = name.removeprefix("worker-")
    with running(name, led, tmp_path) as worker:
        environment(monkeypatch, worker)
        worker.ready()
        worker.healthy()
        with Client() as fleet:
            speech = converse(fleet) if lane == "session" else speak(fleet, lane)
            assert speech.read().startswith(b"RIFF")
        drained(worker)


def speak(fleet: Client, lane: str) -> Speech:
    text = f"Spoken in the {lane} lane."
    return fleet.submit(text, model="espeak/espeak-ng", lane=Lane(lane)).result(WITHIN)


def converse(fleet: Client) -> Speech:
    with fleet.session(model="espeak/espeak-ng") as session:
        session.push("Spoken while it was written.")
        for _ in session.synthesize():
            pass
        return session.result(WITHIN)


def test_the_gateway_serves_whoever_has_the_key(led: dict[str, str], tmp_path: Path) -> None:
    with running("gateway", led, tmp_path) as gateway:
        gateway.healthy()
        url = f"http://127.0.0.1:{led['8080']}"
        headers = {"authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, timeout=WITHIN) as http:
            assert http.get("/").status_code == 200
            assert http.get("/metrics").status_code == 401
            scraped = http.get("/metrics", headers=headers)
        assert "speechfleet_unfinished_jobs" in scraped.text
        drained(gateway)


def test_flower_shows_what_workers_do(
    led: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("flower", led, tmp_path) as flower:
        flower.healthy()
        url = f"http://127.0.0.1:{led['5555']}"
        assert httpx.get(f"{url}/", timeout=WITHIN).status_code == 401
        with running("worker-live", led, tmp_path) as worker:
            environment(monkeypatch, worker)
            worker.ready()
            with Client() as fleet:
                shown = _shown(url, f'task="{TASK}",type="task-succeeded"', fleet)
            drained(worker)
        assert "@speechfleet" in shown


def _shown(url: str, wanted: str, fleet: Client) -> str:
    """Flower's own count of such events, once there is one.

    It sees no job that ended before it listened, which it tells nobody.
    """
    end = time.monotonic() + WITHIN
    while True:
        fleet.submit("Seen by Flower.", model="espeak/espeak-ng", cache=False).result(WITHIN)
        lines = httpx.get(f"{url}/metrics", timeout=WITHIN).text.splitlines()
        if found := [line for line in lines if wanted in line]:
            return found[0]
        assert time.monotonic() < end, "\n".join(lines)
