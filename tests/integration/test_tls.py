"""Redis behind TLS: who is trusted, which line tells why not, and renewed certificates."""

from __future__ import annotations

import datetime
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import trustme

from speechfleet import AsyncClient, Msg
from speechfleet.embedded import EmbeddedValkey
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import FleetUnavailable, MisconfiguredError
from speechfleet.ledger.connection import heartbeat_client
from speechfleet.ledger.ledger import Ledger
from speechfleet.settings import Settings
from tests.support.free_ports import free_port
from tests.support.redis_servers import sentinel_set
from tests.support.stage import PROVIDERS, ROOT
from tests.support.tls_door import TlsDoor, tls_door

HOST = "127.0.0.1"


@dataclass
class Certificates:
    """A CA, and files of what it has signed."""

    folder: Path
    ca: trustme.CA

    @property
    def ca_file(self) -> Path:
        path = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(path))
        return path

    def server(self, host: str = HOST, *, expired: bool = False) -> ssl.SSLContext:
        """A server's context, with a certificate for this host."""
        until = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(host, not_after=until).configure_cert(context)
        return context

    def client(self) -> dict[str, Path]:
        """The settings of a client with a certificate of its own; the files are written anew."""
        certificate = self.ca.issue_cert("worker@speechfleet.example")
        files = {
            "redis_tls_cert": self.folder / "cert.pem",
            "redis_tls_key": self.folder / "key.pem",
        }
        files["redis_tls_cert"].write_bytes(
            b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        )
        files["redis_tls_key"].write_bytes(certificate.private_key_pem.bytes())
        return files


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path, trustme.CA())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey"), port=free_port()) as server:
        yield server


@dataclass
class Door:
    """A server behind TLS, and the settings of those who come in."""

    door: TlsDoor
    url: str

    def settings(self, **more: object) -> Settings:
        return Settings.load(redis_url=self.url, **more)

    async def refusal(self, **more: object) -> str:
        """What a client is told that does not get in."""
        ledger = Ledger(self.settings(**more), patience_s=0.0)
        with pytest.raises(FleetUnavailable) as caught:
            await ledger.connection.scripts.call("PING")
        assert "\n" not in caught.value.message
        assert "server-password" not in caught.value.message
        with pytest.raises(FleetUnavailable):
            await ledger.open()
        await ledger.close()
        return caught.value.message


@pytest.fixture
def door(server: EmbeddedValkey, certificates: Certificates) -> Iterator[Door]:
    login, _, address = server.url.removeprefix("redis://").rpartition("@")
    port = int(address.partition(":")[2].partition("/")[0])
    with tls_door(port, certificates.server()) as door:
        yield Door(door, f"rediss://{login}@{HOST}:{door.port}/0")


async def test_commands_streams_and_heartbeats_are_encrypted(
    door: Door, certificates: Certificates
) -> None:
    settings = door.settings(redis_tls_ca=certificates.ca_file)
    ledger = Ledger(settings)
    await ledger.open()
    entry = ("kind", "rewind", "offset", "0", "attempt", "1", "reason", "a test")
    async with (
        ledger.streams.subscribe("s") as subscription,
        ledger.streams.channels.listen("c") as messages,
    ):
        await ledger.connection.scripts.call("XADD", "s", "*", *entry)
        assert await subscription.next(60)
        await ledger.connection.scripts.call("PUBLISH", "c", "hello")
        assert await messages.get() == b"hello"
    with heartbeat_client(settings, "test") as heartbeat:
        assert heartbeat.ping()
    assert door.door.encrypted >= 4
    await ledger.close()


async def test_a_ca_that_is_not_known(door: Door, certificates: Certificates) -> None:
    assert "not signed by a CA that is trusted here" in await door.refusal()
    other = certificates.folder / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    assert "SPEECHFLEET_REDIS_TLS_CA" in await door.refusal(redis_tls_ca=other)


async def test_an_expired_certificate(door: Door, certificates: Certificates) -> None:
    door.door.context = certificates.server(expired=True)
    assert "has expired" in await door.refusal(redis_tls_ca=certificates.ca_file)


async def test_a_certificate_of_another_host(door: Door, certificates: Certificates) -> None:
    door.door.context = certificates.server("redis.example")
    message = await door.refusal(redis_tls_ca=certificates.ca_file)
    assert "is for another host" in message
    assert HOST in message


async def test_a_server_that_demands_a_certificate(door: Door, certificates: Certificates) -> None:
    door.door.context.verify_mode = ssl.CERT_REQUIRED
    certificates.ca.configure_trust(door.door.context)
    ca = certificates.ca_file
    assert "SPEECHFLEET_REDIS_TLS_CERT" in await door.refusal(redis_tls_ca=ca)
    ledger = Ledger(door.settings(redis_tls_ca=ca, **certificates.client()))
    assert await ledger.connection.scripts.call("ECHO", "in") == b"in"
    await ledger.close()


async def test_a_server_without_tls(server: EmbeddedValkey, certificates: Certificates) -> None:
    plain = Door(None, server.url.replace("redis:", "rediss:", 1))  # type: ignore[arg-type]
    ca = certificates.ca_file
    message = await plain.refusal(redis_tls_ca=ca, redis_connect_timeout=0.3)
    assert "Does it speak TLS on this port?" in message


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    missing = {f"redis_tls_{name}": tmp_path / "none.pem"}
    settings = Settings.load(redis_url="rediss://db", **missing)
    with pytest.raises(MisconfiguredError, match=f"SPEECHFLEET_REDIS_TLS_{name.upper()}=.*none"):
        Ledger(settings)


async def test_renewed_certificates_count_from_the_next_connection_on(
    door: Door, certificates: Certificates
) -> None:
    """Both sides renew theirs, by another CA: nobody is started anew."""
    door.door.context.verify_mode = ssl.CERT_REQUIRED
    certificates.ca.configure_trust(door.door.context)
    settings = door.settings(redis_tls_ca=certificates.ca_file, **certificates.client())
    ledger = Ledger(settings, patience_s=60.0)
    assert await ledger.connection.scripts.call("ECHO", "before") == b"before"

    renewed = Certificates(certificates.folder, trustme.CA())
    assert renewed.ca_file == settings.redis_tls_ca
    renewed.client()
    door.door.context = renewed.server()
    door.door.context.verify_mode = ssl.CERT_REQUIRED
    renewed.ca.configure_trust(door.door.context)
    before = door.door.encrypted
    door.door.cut()
    assert await ledger.connection.scripts.call("ECHO", "after") == b"after"
    assert door.door.encrypted > before
    await ledger.close()


@pytest.fixture
async def sentinels(certificates: Certificates, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of Sentinels and a primary that are reached by TLS alone, but for each other."""
    with ExitStack() as stack:

        def doors_of(ports: list[int]) -> dict[int, int]:
            context = certificates.server()
            opened = (
                stack.enter_context(tls_door(port, context, plain_too=True)) for port in ports
            )
            return {port: door.port for port, door in zip(ports, opened, strict=True)}

        servers = stack.enter_context(
            sentinel_set(tmp_path / "redis", doors=doors_of([free_port(), free_port()]))
        )
        ports = doors_of(list(servers.sentinels))
        hosts = ",".join(f"{HOST}:{port}" for port in ports.values())
        yield f"sentinels://{hosts}/fleet/0"


async def test_a_worker_speaks_by_sentinel_and_tls(
    sentinels: str, certificates: Certificates, tmp_path: Path
) -> None:
    """Its commands and its broker; a plain connection would be no answer."""
    (tmp_path / "store").mkdir()
    ca = certificates.ca_file
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SPEECHFLEET_REDIS_URL": sentinels,
        "SPEECHFLEET_REDIS_TLS_CA": str(ca),
        "SPEECHFLEET_STORE": (tmp_path / "store").as_uri(),
        "SPEECHFLEET_PROVIDERS": PROVIDERS,
    }
    worker = WorkerProcess([], environ=environ, log=tmp_path / "worker.log", grace=5.0)
    try:
        worker.await_ready(120)
        settings = Settings.load(
            redis_url=sentinels, redis_tls_ca=ca, store=environ["SPEECHFLEET_STORE"],
            providers=PROVIDERS,
        )  # fmt: skip
        async with AsyncClient(settings) as client:
            job = await client.submit(Msg("", "By TLS."), model="slow/paced")
            assert (await job.result(timeout=120)).size
            names = [each["name"] for each in await client.ledger.connection.redis.client_list()]
        assert f"speechfleet:worker-{worker.boot_id}:broker" in names
        with pytest.raises(redis.ConnectionError):
            _plain(sentinels)
    finally:
        worker.stop()
        sys.stdout.write(worker.log.read_text()[-4000:])  # shown where it fails


def _plain(url: str) -> None:
    """Ask the first Sentinel by TLS, as one who trusts nobody."""
    port = int(url.split(":")[2].partition(",")[0])
    with redis.Redis(port=port, ssl=True) as client:
        client.ping()
