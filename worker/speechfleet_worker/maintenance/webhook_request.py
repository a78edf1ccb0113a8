"""Send a request to a receiver that a tenant has named, never to an address of our network.

The address is looked up once, checked, and then connected to, so that a name cannot point
elsewhere a moment later. Redirects are not followed, and of the answer only its head is read.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, quote, urlsplit

Network = IPv4Network | IPv6Network
TIMEOUT_S = 15.0
HEAD_BYTES = 16 << 10
MOST_INTERIM_ANSWERS = 5
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_PORTS = {"https": 443, "http": 80}
_NAT64 = IPv6Network("64:ff9b::/96")


class ReceiverUnreachable(Exception):
    """The receiver did not answer as HTTP does, or may not be asked; the message says why."""


@dataclass(frozen=True)
class Answer:
    """The status of an answer, and its ``Retry-After`` in seconds, where it has one."""

    status: int
    retry_after: float | None = None


async def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    networks: Sequence[Network] = (),
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send a body and return the status of the answer. Raises ReceiverUnreachable.

    ``networks``: those that may be reached although they are not public, also without TLS.
    """
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            addresses = await _addresses(parts, networks)
            return await _exchange(parts, addresses, body, headers, tls)
    except TimeoutError:
        message = f"no answer within {TIMEOUT_S:.0f} s{_about_proxies()}"
        raise ReceiverUnreachable(message) from None
    except (
        OSError,
        ssl.SSLError,
        asyncio.IncompleteReadError,
        asyncio.LimitOverrunError,
    ) as error:
        message = f"{type(error).__name__}: {error}{_about_proxies()}"
        raise ReceiverUnreachable(message) from None


def _about_proxies() -> str:
    """Return a hint for those who expect a proxy: it would undo the check of addresses."""
    named = next((name for name in _PROXIES if os.environ.get(name)), None)
    return f" ({named} is not used: workers connect to receivers themselves)" if named else ""


async def _addresses(parts: SplitResult, networks: Sequence[Network]) -> list[str]:
    """Look up the addresses of a host. Raises ReceiverUnreachable where one may not be asked."""
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1, proto=6)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses:
        is_named = any(ip_address(address) in network for network in networks)
        if not is_named and not is_public(address):
            raise ReceiverUnreachable(
                f"{host} is {address}, which is not a public address: "
                "SPEECHFLEET_WEBHOOK_NETWORKS names those that may be reached"
            )
        if not is_named and parts.scheme != "https":
            raise ReceiverUnreachable(f"{host} is public, so its URL has to begin with https://")
    return addresses


def is_public(address: str) -> bool:
    """Tell whether an address is anybody's, also where IPv6 only wraps an IPv4 address."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return _is_anybodys(ip)
    if ip.ipv4_mapped is not None:
        return _is_anybodys(ip.ipv4_mapped)
    teredo = ip.teredo[1] if ip.teredo else None
    nat64 = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
    return all(_is_anybodys(each) for each in (ip, ip.sixtofour, teredo, nat64) if each)


def _is_anybodys(ip: IPv4Address | IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast


async def _exchange(
    parts: SplitResult,
    addresses: Sequence[str],
    body: bytes,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
) -> Answer:
    host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    context = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
    reader, writer = await _connect(addresses, port or _PORTS[parts.scheme], context, host)
    try:
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
        shown = f"[{host}]" if ":" in host else host
        lines = {
            "host": shown if port is None else f"{shown}:{port}",
            "user-agent": "speechfleet-webhooks",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"POST {path}{query} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        await writer.drain()
        for _ in range(MOST_INTERIM_ANSWERS):
            answer = _read_head(await reader.readuntil(b"\r\n\r\n"))
            if answer.status >= 200:  # others say that the answer is still to come
                return answer
        raise ReceiverUnreachable("it announces an answer again and again")
    finally:
        writer.transport.abort()  # its body is of no interest


async def _connect(
    addresses: Sequence[str], port: int, context: ssl.SSLContext | None, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that lets us. Raises OSError."""
    failure: OSError = OSError("it has no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(
                address, port, ssl=context, server_hostname=host if context else None,
                limit=HEAD_BYTES,
            )  # fmt: skip
        except OSError as error:
            failure = error
    raise failure


def _read_head(head: bytes) -> Answer:
    status, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise ReceiverUnreachable("its answer is not HTTP")
    pairs = (line.partition(":") for line in lines)
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    after = fields.get("retry-after", "")
    return Answer(int(rest[:3]), float(after) if after.isdigit() and len(after) < 8 else None)


def networks_of(names: Sequence[str]) -> list[Network]:
    """Read networks such as 10.0.0.0/8, or addresses."""
    return [ip_network(name, strict=False) for name in names]
