"""A request to a receiver: to which addresses it goes, what it sends, and what it reads."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme

from speechfleet_worker.maintenance import webhook_request
from speechfleet_worker.maintenance.webhook_request import (
    ReceiverUnreachable,
    is_public,
    networks_of,
    post,
)

LOOPBACK = networks_of(["127.0.0.1"])


@asynccontextmanager
async def server(
    answer: bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers each request so; its port, and what it got."""
    requests: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writers.append(writer)
        writer.write(answer)

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with running:
        yield running.sockets[0].getsockname()[1], requests
        for writer in writers:
            writer.transport.abort()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.1.2.3", "224.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"],
    ids=lambda address: address.replace(":", "-"),
)  # fmt: skip
def test_an_inner_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"],
    ids=lambda address: address.replace(":", "-"),
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
async def test_no_spelling_of_this_machine_is_asked(host: str) -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, requests):
        with pytest.raises(ReceiverUnreachable):
            await post(f"https://{host}:{port}/", b"{}", {})
        assert requests == []


async def test_one_inner_address_among_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    with pytest.raises(ReceiverUnreachable, match=r"10\.0\.0\.1, which is not a public address"):
        await post("https://rebinding.example/", b"{}", {})


async def test_a_public_receiver_needs_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", ("8.8.8.8", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    with pytest.raises(ReceiverUnreachable, match="https"):
        await post("http://public.example/", b"{}", {})


async def test_the_request_names_the_host_and_escapes_the_path() -> None:
    async with server(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n") as (port, got):
        url = f"http://127.0.0.1:{port}/a path/é?x=1&y=ü"
        answer = await post(url, b"{}", {"webhook-id": "msg"}, networks=LOOPBACK)
    assert answer.status == 204
    head = got[0].decode().lower()
    assert head.startswith("post /a%20path/%c3%a9?x=1&y=%c3%bc http/1.1\r\n")
    assert f"\r\nhost: 127.0.0.1:{port}\r\n" in head
    assert "\r\nwebhook-id: msg\r\n" in head
    assert "\r\ncontent-length: 2\r\n" in head


async def test_an_answer_tells_when_to_come_again() -> None:
    async with server(b"HTTP/1.1 503 No\r\nRetry-After: 120\r\n\r\n") as (port, _):
        answer = await post(f"http://127.0.0.1:{port}/", b"{}", {}, networks=LOOPBACK)
    assert (answer.status, answer.retry_after) == (503, 120)


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 ok\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x" * 99_999],
    ids=["ssh", "no-status", "endless-head"],
)  # fmt: skip
async def test_what_is_not_http_is_an_error(answer: bytes) -> None:
    async with server(answer) as (port, _):
        with pytest.raises(ReceiverUnreachable):
            await post(f"http://127.0.0.1:{port}/", b"{}", {}, networks=LOOPBACK)


async def test_a_receiver_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_request, "TIMEOUT_S", 0.05)
    async with server(b"") as (port, _):
        with pytest.raises(ReceiverUnreachable, match="no answer within"):
            await post(f"http://127.0.0.1:{port}/", b"{}", {}, networks=LOOPBACK)


async def test_a_proxy_is_not_used_and_a_failure_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, _):
        url = f"http://127.0.0.1:{port}/"
        assert (await post(url, b"{}", {}, networks=LOOPBACK)).status == 200
    with pytest.raises(ReceiverUnreachable, match="HTTPS_PROXY is not used"):
        await post(url, b"{}", {}, networks=LOOPBACK)


async def test_a_certificate_is_checked_against_the_name() -> None:
    authority = trustme.CA()
    tls, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(ours)
    async with server(b"HTTP/1.1 200 OK\r\n\r\n", tls) as (port, _):
        url = f"https://localhost:{port}/"
        networks = networks_of(["127.0.0.1", "::1"])
        assert (await post(url, b"{}", {}, networks=networks, tls=ours)).status == 200
        with pytest.raises(ReceiverUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await post(url, b"{}", {}, networks=networks)
        with pytest.raises(ReceiverUnreachable, match="IP address mismatch"):
            await post(f"https://127.0.0.1:{port}/", b"{}", {}, networks=networks, tls=ours)
