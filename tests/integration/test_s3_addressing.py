"""Buckets in the path or in the host name: as the user says, or as the server wants."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from speechfleet.errors import StoreDenied
from speechfleet.store import Store, open_store
from speechfleet.store.s3_connection import _usual_style, connect
from tests.support import moto_server

REFUSAL = (
    b"<Error><Code>SecondLevelDomainForbidden</Code>"
    b"<Message>Please use virtual hosted style to access.</Message></Error>"
)


class _HostsOnly(BaseHTTPRequestHandler):
    """Takes an object only where the bucket stands in the host name."""

    seen: list[tuple[str, str]]

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        host = self.headers["host"].partition(":")[0]
        self.seen.append((host, self.path))
        taken = host.startswith("speech.")
        self.send_response(200 if taken else 403)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", "0" if taken else str(len(REFUSAL)))
        self.end_headers()
        self.wfile.write(b"" if taken else REFUSAL)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What the server was asked for: (host, path) of each request."""
    requests: list[tuple[str, str]] = []
    handler = type("Handler", (_HostsOnly,), {"seen": requests})
    known = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **more: Any) -> Any:
        return known("127.0.0.1" if str(host).endswith(".test") else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://oss.test:{server.server_port}"
        for name, value in moto_server.environment(endpoint).items():
            monkeypatch.setenv(name, value)
        yield requests
        server.shutdown()


@pytest.fixture
async def store(seen: list[tuple[str, str]]) -> AsyncIterator[Store]:
    opened = open_store("s3://speech/fleet")
    yield opened
    await opened.close()


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    path = folder / "config"
    path.write_text(f"[default]\ns3 =\n    addressing_style = {style}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))


async def put(store: Store, key: str) -> None:
    await store.put(key, b"1", media_type="audio/wav")


async def test_the_users_configuration_decides(
    store: Store, seen: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, monkeypatch, "virtual")
    await put(store, "a")
    assert seen == [("speech.oss.test", "/fleet/a")]


async def test_a_server_that_refuses_paths_is_asked_by_host(
    store: Store, seen: list[tuple[str, str]]
) -> None:
    await put(store, "a b")
    assert seen == [("oss.test", "/speech/fleet/a%20b"), ("speech.oss.test", "/fleet/a%20b")]
    await put(store, "c")
    assert seen[2:] == [("speech.oss.test", "/fleet/c")]


async def test_the_refusal_of_a_configured_path_says_what_to_do(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, monkeypatch, "path")
    with pytest.raises(StoreDenied, match="addressing_style = virtual") as refused:
        await put(store, "a")
    assert "s3:GetObject" not in refused.value.message


@pytest.mark.parametrize(
    ("endpoint", "style"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "auto"),
        ("https://oss-cn-hangzhou.aliyuncs.com", "virtual"),
        ("https://cos.ap-guangzhou.myqcloud.com", "virtual"),
        ("http://object-store:8333", "path"),
        ("https://account.r2.cloudflarestorage.com", "path"),
    ],
)
def test_usual_styles(endpoint: str, style: str) -> None:
    assert _usual_style(endpoint) == style


def test_the_region_of_aws_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert connect("speech").meta.region_name == "eu-north-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert connect("speech").meta.region_name == "eu-west-3"
