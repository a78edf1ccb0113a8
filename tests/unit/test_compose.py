"""docker-compose.yml and the Dockerfile, as far as they can be checked without an engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from speechfleet.local.process import Child
from speechfleet.local.valkey import answers, find_server
from speechfleet.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    services: dict[str, Any] = loaded["services"]
    return services


@pytest.fixture(scope="module")
def workers(services: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in services.items() if "build" in service}


def test_the_file_keeps_to_the_specification() -> None:
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_pinned(services: dict[str, Any], workers: dict[str, Any]) -> None:
    images = [service["image"] for name, service in services.items() if name not in workers]
    assert images
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert bases
    assert all(re.search(r":\d+\.\d+", base) for base in bases)


def test_every_service_comes_back_and_tells_its_health(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


def test_nothing_is_published_beyond_this_host(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_are_asked_for_not_written_down() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    written = re.findall(r"SECRET_ACCESS_KEY: (\S+)", text)
    assert written
    assert set(written) == {"${AWS_SECRET_ACCESS_KEY:?set"}
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.search(r"^AWS_SECRET_ACCESS_KEY=$", example, re.MULTILINE)


def test_workers_outlive_their_grace(workers: dict[str, Any]) -> None:
    for worker in workers.values():
        period = int(worker["stop_grace_period"].removesuffix("s"))
        assert period > float(worker["environment"]["SPEECHFLEET_GRACE"]) + 10


def test_the_workers_environment_is_understood(
    workers: dict[str, Any], services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in workers.values():
        environment = worker["environment"]
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
            field = name.removeprefix("SPEECHFLEET_").lower()
            assert field == name.lower() or field in Settings.model_fields
        settings = Settings.load()
        assert settings.redis_url is not None
        assert settings.redis_url.get_secret_value() == "redis://redis:6379/0"
        assert settings.store == f"s3://{services['object-store']['environment']['S3_BUCKET']}"
        assert environment["AWS_ENDPOINT_URL_S3"] == "http://object-store:8333"


def test_every_lane_is_served(workers: dict[str, Any]) -> None:
    commands = [worker["command"] for worker in workers.values()]
    lanes = [command[command.index("--lanes") + 1] for command in commands]
    assert sorted(",".join(lanes).split(",")) == ["batch", "live", "session"]
    assert "session" in lanes, "a process that holds sessions serves nothing else"


def test_a_real_server_takes_the_command_of_redis(
    services: dict[str, Any], tmp_path: Path
) -> None:
    command = [find_server(), *services["redis"]["command"][1:]]
    socket = tmp_path / "s"
    command += ["--port 0", f"--unixsocket {socket}", f"--dir {tmp_path}"]
    server = Child(command, log=tmp_path / "log", rank=1, grace=5.0)
    try:
        url = f"unix://{socket}"
        while not answers(url):
            assert server.running, server.last_words()
        settings = redis.Redis.from_url(url, decode_responses=True).config_get("*")
    finally:
        server.stop()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["save"] == ""
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["hash-max-listpack-value"] == "2048"


def test_the_cli_knows_every_command(workers: dict[str, Any]) -> None:
    """``--help`` at the end: the options before it are parsed, and nothing is run."""
    commands = [worker["command"] for worker in workers.values()]
    commands += [worker["healthcheck"]["test"][2:] for worker in workers.values()]
    for command in {tuple(command) for command in commands}:
        done = subprocess.run(
            [sys.executable, "-c", "from speechfleet.cli import main; main()", *command, "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
