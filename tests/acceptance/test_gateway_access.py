"""Who is let in, how much of it, and what happens while Redis or the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from speechfleet.embedded import EmbeddedFleet
from speechfleet.embedded.gateway_process import gateway_beside
from speechfleet.gateway.access import digest, make_key
from tests.support.gateways import ESPEAK, code_of, gateway, http, order
from tests.support.stage import MODEL, Stage, staged

KEYS = {"ours": make_key(), "theirs": make_key(), "busy": make_key()}
SITE = "https://app.example"


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder) as running:
        yield running


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    keys = ",".join(f"{namespace}={digest(key)}" for namespace, key in KEYS.items())
    with gateway(stage.fleet, module_folder, keys=keys, origins=SITE, streams=2) as running:
        yield running


@pytest.fixture
async def web(url: str) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with http(url) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/audio/speech"), ("GET", "/v1/models"), ("GET", "/v1/audio/voices"),
        ("POST", "/jobs"), ("GET", "/jobs"), ("GET", "/jobs/x"), ("DELETE", "/jobs/x"),
        ("POST", "/jobs/x/cancel"), ("POST", "/jobs/x/retry"), ("GET", "/jobs/x/audio"),
        ("GET", "/jobs/x/events"), ("GET", "/fleet"), ("GET", "/metrics"),
    ],
)  # fmt: skip
async def test_every_door_needs_a_key(web: httpx.AsyncClient, method: str, path: str) -> None:
    body = order() if "speech" in path else {"text": "x", "model": ESPEAK}
    for key, code in ((None, "missing_api_key"), ("sf-wrong", "invalid_api_key")):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = await web.request(method, path, headers=headers, json=body)
        assert (answer.status_code, code_of(answer)) == (401, code)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_only_what_tells_nothing_is_open(web: httpx.AsyncClient) -> None:
    assert (await web.get("/healthz")).json() == {"status": "ok"}
    assert (await web.get("/readyz")).json() == {"redis": "ok", "store": "ok"}
    assert (await web.get("/login")).json() == {"required": True, "namespace": None}


async def test_a_key_opens_one_namespace_and_no_other(url: str) -> None:
    job = {"text": "A secret.", "model": ESPEAK, "voice": "en-us", "id": "private"}
    async with http(url, KEYS["ours"]) as ours, http(url, KEYS["theirs"]) as theirs:
        assert (await ours.post("/jobs", json=job)).status_code == 201
        assert (await ours.get("/jobs/private")).json()["text"] == "A secret."
        for path in ("", "/audio", "/events"):
            answer = await theirs.get(f"/jobs/private{path}")
            assert (answer.status_code, code_of(answer)) == (404, "job_not_found")
        assert (await theirs.post("/jobs/private/cancel")).status_code == 404
        assert (await theirs.delete("/jobs/private")).status_code == 204, "idempotent, and nothing"
        assert (await ours.get("/jobs/private")).status_code == 200
        assert (await theirs.get("/jobs")).json()["jobs"] == []
        same = await theirs.post("/jobs", json={**job, "text": "Another one's."})
        assert same.status_code == 201


async def test_a_browser_keeps_its_key_in_a_cookie(web: httpx.AsyncClient) -> None:
    assert (await web.post("/login", json={"key": "sf-wrong"})).status_code == 401
    answer = await web.post("/login", json={"key": KEYS["ours"]})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (await web.get("/login")).json()["namespace"] == "ours"
    assert (await web.get("/jobs")).status_code == 200
    await web.post("/logout")
    assert (await web.get("/jobs")).status_code == 401


async def test_pages_of_other_sites_are_turned_away(url: str) -> None:
    async with http(url, KEYS["ours"]) as web:
        job = {"text": "x", "model": ESPEAK}
        for origin, status in (("https://evil.example", 403), ("null", 403), (url, 201)):
            answer = await web.post("/jobs", json=job, headers={"origin": origin})
            assert answer.status_code == status
        allowed = await web.post("/jobs", json=job, headers={"origin": SITE})
        assert allowed.headers["access-control-allow-origin"] == SITE
        other = await web.get("/jobs", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        asked = {"origin": SITE, "access-control-request-method": "POST"}
        assert (await web.options("/jobs", headers=asked)).status_code == 200


async def test_answers_say_what_a_browser_may_do_with_them(web: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/jobs", "/nowhere", "/v1/models"):
        headers = (await web.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


async def test_a_key_has_so_many_streams_and_no_more(url: str) -> None:
    def long(text: str) -> dict[str, object]:  # equal ones would wait for each other
        return order(model=MODEL, voice="", input=text, pace=0.05, chunks=600)

    async with http(url, KEYS["busy"]) as busy, http(url, KEYS["ours"]) as others:
        async with AsyncExitStack() as held:
            for text in ("Held.", "Held as well."):
                asked = busy.stream("POST", "/v1/audio/speech", json=long(text))
                assert (await held.enter_async_context(asked)).status_code == 200
            refused = await busy.post("/v1/audio/speech", json=long("One too many."))
            assert (refused.status_code, code_of(refused)) == (429, "too_many_streams")
            assert int(refused.headers["retry-after"]) > 0
            assert (await others.post("/v1/audio/speech", json=order())).status_code == 200
        async with asyncio.timeout(120):  # the gateway hears a moment later that they left
            while (await busy.get("/jobs?state=RUNNING")).json()["jobs"]:
                pass
        assert (await busy.post("/v1/audio/speech", json=order())).status_code == 200


async def test_a_large_body_is_refused_before_it_is_read(url: str) -> None:
    """Of 100 MB that are announced, and of as many that are not."""

    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield bytes(65_536)

    async with http(url, KEYS["ours"], content_type="application/json") as web:
        announced = await web.post("/jobs", content=bytes(100_000_000))
        assert (announced.status_code, code_of(announced)) == (413, "body_too_large")
        with contextlib.suppress(httpx.NetworkError):  # closed while it still sends
            unknown = await web.post("/jobs", content=endless())
            assert (unknown.status_code, code_of(unknown)) == (413, "body_too_large")
        assert (await web.get("/jobs")).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/jobs/%0d%0aset-cookie:%20x=y", "/jobs/..%2f..%2fetc%2fpasswd/audio", "/jobs/%00/events",
     "/../../pyproject.toml", "/%2e%2e/%2e%2e/pyproject.toml", "/console/../app.py", "/jobs/%ff"],
)  # fmt: skip
async def test_paths_lead_nowhere_else(url: str, path: str) -> None:
    status, headers, _ = await raw(url, f"GET {path}", {"authorization": f"Bearer {KEYS['ours']}"})
    assert status in (400, 404)
    assert "set-cookie" not in headers


async def test_ids_in_headers_stay_in_their_header(url: str) -> None:
    headers = {"authorization": f"Bearer {KEYS['ours']}", "content-type": "application/json"}
    headers["idempotency-key"] = "ü%0d%0aset-cookie: x=y"
    body = json.dumps(order()).encode()
    status, told, _ = await raw(url, "POST /v1/audio/speech", headers, body)
    assert status == 200
    assert "set-cookie" not in told


async def raw(
    url: str, request: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """What a client that mends nothing on its own would send and get."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = {"host": address.netloc, "connection": "close", "content-length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **headers}.items())
    writer.write(f"{request} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *others = answer.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in others)
    return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, rest


# --- without keys, and without Redis or a store ----------------------------------------------


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedFleet]:
    """No worker: what is looked at here needs none."""
    folder = tmp_path_factory.mktemp("empty")
    with EmbeddedFleet(folder / "data", workers=0, supervise=False) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def keyless(empty: EmbeddedFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(empty, tmp_path_factory.mktemp("keyless")) as running:
        yield running


async def test_without_keys_a_name_that_points_here_opens_nothing(keyless: str) -> None:
    for host, status in (("evil.example", 403), ("localhost:1", 200), ("[::1]:8080", 200)):
        async with http(keyless, host=host) as web:
            assert (await web.get("/jobs")).status_code == status


@pytest.mark.parametrize("arguments", [("--host", "::"), ("--port", "used")])
def test_what_may_not_be_bound_is_told(empty: EmbeddedFleet, arguments: tuple[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "speechfleet.cli", "gateway"]
        command += [port if word == "used" else word for word in arguments]
        done = subprocess.run(
            command,
            env={**os.environ, **empty.environ},
            capture_output=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    expected = b"speechfleet key" if "--host" in arguments else b"--port"
    assert expected in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "speechfleet.cli", "key", "tenant"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    key = made.stdout.strip()
    assert f"SPEECHFLEET_GATEWAY_KEYS=tenant={digest(key)}" in made.stderr
    assert key not in made.stderr


async def test_while_redis_is_away_it_says_so_and_recovers_by_itself(
    keyless: str, empty: EmbeddedFleet
) -> None:
    assert empty.valkey is not None
    async with http(keyless) as web:
        assert (await web.get("/readyz")).status_code == 200
        await asyncio.to_thread(empty.valkey.stop)
        ready = await web.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["store"] == "ok"
        refused = await web.post("/jobs", json={"text": "x", "model": ESPEAK})
        assert (refused.status_code, code_of(refused)) == (503, "fleet_unavailable")
        assert "retry-after" in refused.headers
        assert (await web.get("/healthz")).status_code == 200
        await asyncio.to_thread(empty.valkey.start)
        assert (await web.get("/readyz")).json() == {"redis": "ok", "store": "ok"}
        job = await web.post("/jobs", json={"text": "x", "model": ESPEAK})
        assert job.status_code == 201


async def test_while_the_store_is_away_it_says_so(keyless: str, empty: EmbeddedFleet) -> None:
    store = Path(unquote(urlsplit(empty.store_url).path))
    async with http(keyless) as web:
        away = await asyncio.to_thread(store.rename, store.with_name("away"))
        ready = await web.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["redis"] == "ok"
        await asyncio.to_thread(away.rename, store)
        assert (await web.get("/readyz")).status_code == 200


def test_sigterm_ends_it_with_streams_open(empty: EmbeddedFleet, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "speechfleet.cli", "gateway", "--port", "0"]
    environ = {**os.environ, **empty.environ}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        job = {"text": "x", "model": ESPEAK, "id": "endless"}
        httpx.post(f"{url}/jobs", json=job, timeout=120)
        with httpx.stream("GET", f"{url}/jobs/endless/events", timeout=120) as answer:
            next(answer.iter_raw())
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=120) == 0


def test_one_that_dies_beside_a_fleet_is_started_again(
    empty: EmbeddedFleet, tmp_path: Path
) -> None:
    """On the same port, so that whoever knew its address finds it."""
    log = tmp_path / "gateway.log"
    with gateway_beside({**os.environ, **empty.environ}, 0, log=log) as url:
        [pid] = re.findall(r"server process \[(\d+)\]", log.read_text())
        os.kill(int(pid), signal.SIGKILL)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                assert httpx.get(f"{url}/healthz", timeout=120).status_code == 200
                break
        pids = re.findall(r"server process \[(\d+)\]", log.read_text())
        assert len(set(pids)) == 2


@pytest.mark.parametrize("path", ["/v1/audio/speech/stream", "/v1/realtime"])
async def test_websockets_are_checked_as_requests_are(url: str, path: str) -> None:
    address, key = url.replace("http", "ws", 1) + path, KEYS["ours"]
    bearer = {"authorization": f"Bearer {key}"}
    for headers, site, status, code in (
        ({}, None, 401, "missing_api_key"),
        ({"authorization": "Bearer wrong"}, None, 401, "invalid_api_key"),
        (bearer, Origin("https://evil.example"), 403, "origin_refused"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await connect(address, additional_headers=headers, origin=site)
        answer = refused.value.response
        assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (status, code)
    async with connect(address, additional_headers=bearer, origin=Origin(SITE)) as socket:
        assert socket.subprotocol is None
    names = ("realtime", f"openai-insecure-api-key.{key}")
    async with connect(address, subprotocols=list(map(Subprotocol, names))) as socket:
        assert socket.subprotocol == "realtime"


async def test_a_key_has_only_so_many_websockets(url: str) -> None:
    address = url.replace("http", "ws", 1) + "/v1/realtime"
    headers = {"authorization": f"Bearer {KEYS['busy']}"}
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(connect(address, additional_headers=headers))
        with pytest.raises(InvalidStatus) as refused:
            await connect(address, additional_headers=headers)
        assert refused.value.response.status_code == 429
    async with asyncio.timeout(120):
        while True:  # the gateway notices that they have left
            with contextlib.suppress(InvalidStatus):
                async with connect(address, additional_headers=headers):
                    return
