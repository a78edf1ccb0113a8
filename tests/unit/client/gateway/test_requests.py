"""What the gateway answers before it asks the fleet: keys, hosts, sites, paths, methods, ids."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from speechfleet.gateway import create_app
from speechfleet.gateway.access import digest, make_key
from speechfleet.gateway.context import Gateway
from speechfleet.gateway.key_check import COOKIE
from speechfleet.gateway.routing import CONSOLE
from speechfleet.ledger.api_keys import StoredKey
from speechfleet.ledger.logins import Login
from speechfleet.settings import Settings
from tests.support.codecs import remove_codec

KEY = make_key()
URL = "http://127.0.0.1:8080"
SITE = "https://app.example"


class FakeLogins:
    """Logins in memory instead of Redis."""

    def __init__(self) -> None:
        self.made: dict[str, Login] = {}

    async def create(self, login: Login, lifetime_s: int) -> str:
        assert 0 < lifetime_s <= 86_400
        token = f"token-{len(self.made)}"
        self.made[token] = login
        return token

    async def find(self, token: str) -> Login | None:
        return self.made.get(token)

    async def revoke(self, token: str) -> None:
        self.made.pop(token, None)


class NoStoredKeys:
    """Stored API keys, of which there are none."""

    async def find(self, digest: str) -> StoredKey | None:
        return None


@asynccontextmanager
async def asked(**settings: object) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of an application whose fleet is not there."""
    chosen = Settings.load(redis_url="redis://127.0.0.1:1", store="file:///nowhere", **settings)
    app = create_app(chosen)
    app.state.gateway = gateway = Gateway(chosen)

    async def opened() -> None:
        """Redis is not needed for logins in memory."""

    gateway.client.ledger.open = opened  # type: ignore[method-assign]
    gateway.client.ledger.logins = FakeLogins()  # type: ignore[assignment]
    gateway.client.ledger.api_keys = NoStoredKeys()  # type: ignore[assignment]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("203.0.113.7", 1))
    try:
        async with httpx.AsyncClient(transport=transport, base_url=URL) as web:
            yield web
    finally:
        await gateway.close()


@pytest.fixture
async def web() -> AsyncGenerator[httpx.AsyncClient, None]:
    async with asked(gateway_keys={digest(KEY): "ours"}, gateway_origins=(SITE,)) as web:
        yield web


@pytest.fixture
async def keyless() -> AsyncGenerator[httpx.AsyncClient, None]:
    async with asked() as web:
        yield web


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


# --- keys and logins ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/jobs", "/v1/audio/speech", "/fleet", "/metrics", "/anything"])
async def test_a_body_without_a_key_is_not_read(web: httpx.AsyncClient, path: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = await web.post(path, content=body())
    assert (answer.status_code, code_of(answer)) == (401, "missing_api_key")
    assert answer.headers["connection"] == "close"


async def test_a_login_takes_no_large_body(web: httpx.AsyncClient) -> None:
    answer = await web.post("/login", json={"key": "x" * 5000})
    assert (answer.status_code, code_of(answer)) == (413, "body_too_large")


async def test_a_login_is_no_key_and_ends_with_a_logout(web: httpx.AsyncClient) -> None:
    answer = await web.post("/login", json={"key": KEY})
    assert answer.status_code == 204
    assert KEY not in answer.headers["set-cookie"]
    assert "secure" not in answer.headers["set-cookie"].lower()
    token = web.cookies[COOKIE]
    assert (await web.get("/login")).json() == {"required": True, "namespace": "ours"}
    await web.post("/logout")
    copied = {"cookie": f"{COOKIE}={token}"}
    assert (await web.get("/login", headers=copied)).json()["namespace"] is None
    assert (await web.get("/jobs", headers=copied)).status_code == 401


async def test_a_login_ends_with_its_key() -> None:
    async with asked(gateway_keys={digest(make_key()): "ours"}) as web:
        logins = web._transport.app.state.gateway.client.ledger.logins  # type: ignore[attr-defined]
        token = await logins.create(Login("ours", digest(KEY)), 60)
        assert (await web.get("/jobs", headers={"cookie": f"{COOKIE}={token}"})).status_code == 401


async def test_a_cookie_behind_https_stays_there(web: httpx.AsyncClient) -> None:
    answer = await web.post("/login", json={"key": KEY}, headers={"x-forwarded-proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


async def test_lists_are_open_where_that_is_set() -> None:
    keys = {digest(KEY): "ours"}
    async with asked(gateway_keys=keys, gateway_open_lists=True) as web:
        for path in ("/v1/models", "/v1/audio/models", "/v1/audio/voices"):
            assert (await web.get(path)).status_code != 401
        assert (await web.get("/jobs")).status_code == 401


async def test_the_fleet_is_for_operators_where_there_are_some() -> None:
    keys = {digest(KEY): "ours"}
    async with asked(gateway_keys=keys, gateway_operators=("ops",)) as web:
        answer = await web.get("/metrics", headers={"authorization": f"Bearer {KEY}"})
        assert (answer.status_code, code_of(answer)) == (403, "operators_only")


async def test_a_key_for_metrics_opens_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ops={digest(KEY)} scope=metrics\n")
    async with asked(gateway_keys_file=file) as web:
        headers = {"authorization": f"Bearer {KEY}"}
        answer = await web.get("/jobs", headers=headers)
        assert (answer.status_code, code_of(answer)) == (403, "scope_missing")
        assert (await web.get("/metrics", headers=headers)).status_code != 403
        assert (await web.get("/metrics")).status_code == 401


# --- hosts and sites ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-anything",
        "via",
        "x-real-ip",
    ],
)
async def test_without_keys_a_proxy_is_refused(keyless: httpx.AsyncClient, name: str) -> None:
    answer = await keyless.get("/healthz", headers={name: "203.0.113.9"})
    assert (answer.status_code, code_of(answer)) == (403, "origin_refused")
    assert "speechfleet key" in answer.text
    assert (await keyless.get("/healthz")).status_code == 200


async def test_with_keys_a_proxy_is_fine(web: httpx.AsyncClient) -> None:
    answer = await web.get("/healthz", headers={"x-forwarded-for": "203.0.113.9", "via": "1.1 p"})
    assert answer.status_code == 200


@pytest.mark.parametrize("host", ["[", "a b", "a/b", "user@a", "a:port", "[::1"])
async def test_a_malformed_host_is_refused(
    web: httpx.AsyncClient, keyless: httpx.AsyncClient, host: str
) -> None:
    for client in (web, keyless):
        answer = await client.get("/healthz", headers={"host": host})
        assert (answer.status_code, code_of(answer)) == (400, "malformed_request")


async def test_two_hosts_are_refused(keyless: httpx.AsyncClient) -> None:
    answer = await keyless.get("/healthz", headers=[("host", "localhost"), ("host", "evil")])
    assert (answer.status_code, code_of(answer)) == (400, "malformed_request")


@pytest.mark.parametrize("origin", ["http://[", "https://evil.example", "null"])
async def test_an_origin_that_is_not_ours_is_refused(web: httpx.AsyncClient, origin: str) -> None:
    answer = await web.post("/jobs", json={}, headers={"origin": origin})
    assert (answer.status_code, code_of(answer)) == (403, "origin_refused")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("mode", "goal", "status"),
    [("no-cors", "audio", 403), ("navigate", "iframe", 403), ("navigate", "document", 200)],
    ids=["embedded", "framed", "followed"],
)
async def test_other_sites_embed_nothing(
    keyless: httpx.AsyncClient, site: str, mode: str, goal: str, status: int
) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": goal}
    answer = await keyless.get("/", headers=headers)
    assert answer.status_code == status
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_site_of_the_setting_may_send_what_its_sdk_sends(web: httpx.AsyncClient) -> None:
    names = "authorization,content-type,x-stainless-arch,x-stainless-retry-count,x-another"
    asking = {
        "origin": SITE,
        "access-control-request-method": "POST",
        "access-control-request-headers": names,
    }
    answer = await web.options("/v1/audio/speech", headers=asking)
    assert answer.status_code == 200
    assert set(names.split(",")) <= set(
        answer.headers["access-control-allow-headers"].replace(" ", "").split(",")
    )
    other = await web.options("/v1/audio/speech", headers={**asking, "origin": "https://evil"})
    assert "access-control-allow-origin" not in other.headers


# --- paths, methods, ids -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/audio/speech", "/v1/audio/speech"), ("/v1/v1/audio/speech", "/v1/audio/speech"),
        ("/v1/audio/speach", "/v1/audio/speech"), ("/qqq", "/docs"),
    ],
)  # fmt: skip
async def test_a_wrong_path_is_not_found(
    keyless: httpx.AsyncClient, path: str, meant: str
) -> None:
    answer = await keyless.post(path, json={})
    assert (answer.status_code, code_of(answer)) == (404, "not_found")
    assert meant in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/jobs/x/cancel"])
async def test_a_wrong_method_is_not_allowed(keyless: httpx.AsyncClient, path: str) -> None:
    answer = await keyless.get(path)
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/healthz", "/", "/style.css", "/openapi.json", "/docs"])
async def test_head_is_get_without_the_body(keyless: httpx.AsyncClient, path: str) -> None:
    head, get = await keyless.head(path), await keyless.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


async def test_files_of_the_console_are_asked_for_by_their_etag(
    keyless: httpx.AsyncClient,
) -> None:
    etag = (await keyless.get("/style.css")).headers["etag"]
    answer = await keyless.get("/style.css", headers={"if-none-match": etag})
    assert answer.status_code == 304


async def test_a_body_without_its_type_is_told_so(keyless: httpx.AsyncClient) -> None:
    answer = await keyless.post("/jobs", content=b'{"text": "x"}')
    assert answer.status_code == 400
    assert "content-type: application/json" in answer.json()["error"]["message"]


def test_no_page_loads_anything_from_elsewhere() -> None:
    for file in CONSOLE.iterdir():
        assert "https://" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2:3_x", True), ("", False), ("a b", False), ("x" * 129, False), ("ü", False)],
    ids=["plain", "none", "space", "long", "letter"],
)
async def test_every_answer_has_a_request_id(
    keyless: httpx.AsyncClient, given: str, *, kept: bool
) -> None:
    headers = {"x-request-id": given.encode()} if given else {}
    for path in ("/healthz", "/nowhere"):
        answer = await keyless.get(path, headers=headers)  # type: ignore[arg-type]
        told = answer.headers["x-request-id"]
        assert (told == given) is kept
        assert len(told) >= 10


async def test_the_log_tells_who_asked_for_what(
    keyless: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "speechfleet.gateway")
    await keyless.get("/jobs/x%0aFORGED/audio" + "y" * 10_000)
    (record,) = [one for one in caplog.records if one.name == "speechfleet.gateway"]
    assert "from 203.0.113.7" in record.getMessage()
    fields = vars(record)["fields"]
    assert fields["client"] == "203.0.113.7"
    assert fields["request"]
    assert len(vars(record)["job"]) <= 256
    assert json.dumps(fields)


async def test_a_key_that_only_reads_opens_no_socket(tmp_path: Path) -> None:
    """Something is spoken over each of them."""
    file = tmp_path / "keys"
    file.write_text(f"ours={digest(KEY)} scope=read\n")
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with asked(gateway_keys_file=file) as web:
        app = web._transport.app  # type: ignore[attr-defined]
        headers = [(b"host", b"127.0.0.1:8080"), (b"authorization", f"Bearer {KEY}".encode())]
        scope = {
            "type": "websocket", "path": "/v1/realtime", "raw_path": b"/v1/realtime",
            "query_string": b"", "headers": headers, "subprotocols": [], "scheme": "ws",
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080), "root_path": "",
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        await app(scope, receive, send)
    assert sent[0]["status"] == 403
    assert b"scope_missing" in b"".join(message.get("body", b"") for message in sent)


async def test_a_format_without_its_codec_is_refused_before_a_job_is_submitted(
    keyless: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_codec(monkeypatch, "mp3")
    answer = await keyless.post("/v1/audio/speech", json={"input": "Hello.", "model": "x/y"})
    assert (answer.status_code, code_of(answer)) == (500, "missing_codec")
