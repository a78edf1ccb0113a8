"""Gateways of their own process beside a fleet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from speechfleet.embedded import EmbeddedFleet
from speechfleet.embedded.gateway_process import GatewayProcess

ESPEAK = "espeak/espeak-ng"
TEXT = "Hello from the gateway. It speaks two sentences."


@contextmanager
def gateway(fleet: EmbeddedFleet, folder: Path, **settings: object) -> Iterator[str]:
    """The URL of one that serves this fleet; ``settings`` by name, as SPEECHFLEET_GATEWAY_*."""
    added = {f"SPEECHFLEET_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
    log = folder / "gateway.log"
    served = fleet.environ.get("SPEECHFLEET_PROVIDERS", "")
    known = {"SPEECHFLEET_PROVIDERS": f"{served},nobody=that.no:Worker.serves"}
    environ = {**os.environ, **fleet.environ, **known, **added}
    process = GatewayProcess(0, environ=environ, log=log, grace=5.0)
    try:
        yield process.url
    finally:
        process.stop()
        print(f"--- {log.name}\n{log.read_text()[-8000:]}")  # noqa: T201 # shown where a test fails


def http(url: str, key: str = "", **headers: str) -> httpx.AsyncClient:
    if key:
        headers["authorization"] = f"Bearer {key}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.AsyncClient(base_url=url, headers=named, timeout=120)


def http_to(transport: httpx.ASGITransport, key: str = "") -> httpx.AsyncClient:
    """A client of a gateway in this process."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


def order(**fields: object) -> dict[str, object]:
    """The body of a request for speech."""
    return {"model": ESPEAK, "voice": "en-us", "input": TEXT, "response_format": "wav", **fields}


def code_of(response: httpx.Response) -> str:
    """The code of an error, which must have OpenAI's form."""
    told = response.json()["error"]
    assert set(told) == {"message", "type", "param", "code", "retryable"}
    assert told["message"]
    return str(told["code"])
