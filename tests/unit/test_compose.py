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

from speechfleet.embedded.child_process import ChildProcess
from speechfleet.embedded.valkey import find_server
from speechfleet.ledger.connection import answers
from speechfleet.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "worker" / "Dockerfile"
FILE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
WORKERS = {name: service for name, service in OURS.items() if name.startswith("worker")}
SECRET = f"default={'0' * 64}"
"""Stands for each secret; as a key of the gateway it is well-formed."""
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+}")


def tool(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_file_keeps_to_the_specification() -> None:
    check = ("-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))
    tool(sys.executable, *check)


def test_the_dockerfile_has_no_known_mistake() -> None:
    tool(str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE))


def test_the_image_is_built_from_what_is_there() -> None:
    for service in OURS.values():
        assert service["build"] == {"context": ".", "dockerfile": "worker/Dockerfile"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    (extras,) = re.findall(r"\.\[([\w,]+)]", DOCKERFILE.read_text())
    known = (ROOT / "pyproject.toml").read_text()
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", known, re.MULTILINE), extra


def test_every_image_is_pinned() -> None:
    images = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    assert images
    assert all(re.search(r":v?\d+\.\d+", image) for image in images)
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert bases
    assert all(re.search(r":\d+\.\d+-slim-\w+$", base) for base in bases)


def test_every_service_comes_back_and_tells_its_health() -> None:
    for service in SERVICES.values():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_none_has_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 512
    if name != "object-store":  # its image prepares its files when it starts
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert "cap_add" not in service


def test_ours_run_without_root() -> None:
    assert re.search(r"^USER \d+$", DOCKERFILE.read_text(), re.MULTILINE)


def test_services_reach_only_what_they_need() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks["redis"] == {"queue"}
    assert networks["object-store"] == {"storage"}
    assert networks["prometheus"] == {"metrics"}
    assert networks["flower"] == {"queue"}
    assert set().union(*networks.values()) == set(FILE["networks"])


@pytest.mark.parametrize("secret", ["REDIS_PASSWORD", "FLOWER_PASSWORD", "AWS_SECRET_ACCESS_KEY"])
def test_the_example_leaves_secrets_empty_and_an_empty_one_is_refused(secret: str) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.search(rf"^{secret}=$", example, re.MULTILINE)
    uses = re.findall(rf"\$\{{{secret}(.?.?)", COMPOSE.read_text(encoding="utf-8"))
    assert set(uses) == {":?"}


def test_nothing_is_published_beyond_this_host() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_are_asked_for_not_written_down() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    asked = set(REQUIRED.findall(text))
    assert asked == {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "SPEECHFLEET_GATEWAY_KEYS",
        "FLOWER_PASSWORD",
        "REDIS_PASSWORD",
    }
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in asked | {FILE["secrets"]["metrics_key"]["environment"]}:
        assert re.search(rf"^{name}=(speechfleet)?$", example, re.MULTILINE), name
    providers = (ROOT / "deploy" / "providers.env.example").read_text(encoding="utf-8")
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "DASHSCOPE_API_KEY"):
        assert name not in text
        assert name not in example
        assert f"#{name}=" in providers


def test_only_workers_get_the_providers_keys() -> None:
    assert {name for name, service in SERVICES.items() if "env_file" in service} == set(WORKERS)
    for worker in WORKERS.values():
        (file,) = worker["env_file"]
        assert file["path"] == "deploy/providers.env", ".env holds the secrets of others"
        assert (ROOT / f"{file['path']}.example").exists()
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".env", "/deploy/providers.env"} <= set(ignored)


def test_workers_outlive_their_grace() -> None:
    for worker in WORKERS.values():
        period = int(worker["stop_grace_period"].removesuffix("s"))
        assert period > float(worker["environment"]["SPEECHFLEET_GRACE"]) + 10


@pytest.mark.parametrize("name", [*WORKERS, "gateway"])
def test_the_environment_is_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = OURS[name]["environment"]
    for variable, value in environment.items():
        filled = REQUIRED.sub(SECRET, value)
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-([^}]*)}", r"\1", filled))
        field = variable.removeprefix("SPEECHFLEET_").lower()
        assert field == variable.lower() or field in Settings.model_fields
    settings = Settings.load()
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == f"redis://:{SECRET}@redis:6379/0"
    assert settings.store == f"s3://{SERVICES['object-store']['environment']['S3_BUCKET']}"
    assert environment["AWS_ENDPOINT_URL_S3"] == "http://object-store:8333"
    assert bool(settings.gateway_keys) == (name == "gateway")


def test_lanes_are_scaled_apart() -> None:
    commands = {name: service["command"] for name, service in WORKERS.items()}
    for name, command in commands.items():
        assert command[command.index("--lanes") + 1] == name.removeprefix("worker-")
    assert {"worker-live", "worker-batch", "worker-session"} == set(commands)


def test_prometheus_asks_the_gateway_with_a_key() -> None:
    service = SERVICES["prometheus"]
    (config,) = service["configs"]
    settings = yaml.safe_load(FILE["configs"][config["source"]]["content"])
    assert config["target"] == "/etc/prometheus/prometheus.yml"
    (job,) = settings["scrape_configs"]
    port = SERVICES["gateway"]["command"][-1]
    assert job["static_configs"] == [{"targets": [f"gateway:{port}"]}]
    (secret,) = service["secrets"]
    assert job["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}


def test_a_real_server_takes_the_configuration_of_redis(tmp_path: Path) -> None:
    service = SERVICES["redis"]
    (config,) = service["configs"]
    program, path = service["command"]
    assert (program, path) == ("valkey-server", config["target"])
    file, socket = tmp_path / "fleet.conf", tmp_path / "s"
    content = FILE["configs"][config["source"]]["content"]
    content = REQUIRED.sub("secret", content)
    file.write_text(content.replace("dir /data", f"dir {tmp_path}"))
    command = [find_server(), str(file), "--port 0", f"--unixsocket {socket}"]
    server = ChildProcess(command, log=tmp_path / "log", rank=1, grace=5.0)
    try:
        url = f"unix://:secret@{socket}"
        while not answers(url):
            assert server.running, server.log_tail()
        settings = redis.Redis.from_url(url, decode_responses=True).config_get("*")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(f"unix://{socket}").ping()
    finally:
        server.stop()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["save"] == ""
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["hash-max-listpack-value"] == "2048"
    limit = int(service["mem_limit"].removesuffix("g")) << 30
    assert 0 < int(settings["maxmemory"] or 0) < 0.8 * limit
    assert service["environment"]["REDISCLI_AUTH"].startswith("${REDIS_PASSWORD:?")
