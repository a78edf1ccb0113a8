"""The compose file's worker, with its very command, environment and health check.

The servers are a real Valkey and moto, at other addresses than the file's; moto checks no
signatures, so that the credentials are right is not proven here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from speechfleet import Client
from speechfleet.local import EmbeddedValkey
from speechfleet.sync import Speech
from tests import moto_server

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(
    tmp_path: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The service's environment, with the two host names led to this machine's servers."""
    moto_server.reset(moto_url)
    with EmbeddedValkey(tmp_path / "valkey", port=free_port()) as server:
        found = {name: str(value) for name, value in SERVICES["worker"]["environment"].items()}
        assert found["SPEECHFLEET_REDIS_URL"] == "redis://redis:6379/0"
        assert found["SPEECHFLEET_STORE"] == f"s3://{moto_server.BUCKET}"
        assert found["AWS_ENDPOINT_URL_S3"] == "http://object-store:8333"
        found |= {
            "SPEECHFLEET_REDIS_URL": server.url,
            **moto_server.environment(moto_url),
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
        }
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        yield found


def speak(fleet: Client) -> Speech:
    return fleet.submit("Spoken by the composed worker.", model="espeak/espeak-ng").result(30)


def talk(fleet: Client) -> Speech:
    with fleet.session(model="espeak/espeak-ng") as session:
        session.push("Spoken by the composed worker, while it was written.")
        for _ in session.synthesize():
            pass
        return session.result(30)


@pytest.mark.parametrize(("name", "use"), [("worker", speak), ("session-worker", talk)])
def test_the_worker_speaks_and_is_healthy(
    environment: dict[str, str], name: str, use: Callable[[Client], Speech]
) -> None:
    service = SERVICES[name]
    program = [sys.executable, "-m", "speechfleet.cli"]
    worker = subprocess.Popen(
        [*program, *service["command"]], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline().startswith("ready ")
        kind, command, *arguments = service["healthcheck"]["test"]
        assert (kind, command) == ("CMD", "speechfleet")
        health = subprocess.run(
            [*program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert health.returncode == 0, health.stdout + health.stderr
        with Client() as fleet:
            assert use(fleet).read().startswith(b"RIFF")
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
        if worker.stdout is not None:
            worker.stdout.close()
