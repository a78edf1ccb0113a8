"""Tenants over HTTP: their quotas, and what each of their keys may do."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from speechfleet.batch.pricing import unit_prices
from speechfleet.cli import app
from speechfleet.client import AsyncClient
from speechfleet.gateway import stored_keys
from speechfleet.gateway.access import digest, make_key
from speechfleet.gateway.app import create_app
from speechfleet.ledger import tenant_keys
from speechfleet.ledger.api_keys import StoredKey
from speechfleet.quotas import EVERY_NAMESPACE, Quota
from speechfleet.settings import Settings
from speechfleet.webhooks import new_webhook
from tests.support.gateways import ESPEAK, code_of, http_to

KEY = make_key()


@asynccontextmanager
async def gateway(url: str, store: str, **settings: Any) -> AsyncIterator[httpx.ASGITransport]:
    app = create_app(Settings.load(redis_url=url, store=store, **settings))
    async with app.router.lifespan_context(app):
        yield httpx.ASGITransport(app, client=("127.0.0.1", 1))


@pytest.fixture
async def web(redis_url: str, folder_store_url: str) -> AsyncIterator[httpx.ASGITransport]:
    keys = {digest(KEY): "acme"}
    async with gateway(redis_url, folder_store_url, gateway_keys=keys) as transport:
        yield transport


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(redis_url=redis_url, namespace="acme") as client:
        yield client


async def test_what_a_tenant_may_not_use_is_answered_by_429(
    web: httpx.ASGITransport, client: AsyncClient
) -> None:
    quota = Quota(characters_day=12, queued=2, store_bytes=10)
    await client.ledger.quotas.set("acme", quota, unit_prices(client.settings))
    order = {"text": "0123456789", "model": ESPEAK}
    async with http_to(web, KEY) as acme:
        assert (await acme.post("/jobs", json=order)).status_code == 201
        refused = await acme.post("/jobs", json=order)
        assert (refused.status_code, code_of(refused)) == (429, "quota_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        assert "characters a day" in refused.json()["error"]["message"]
        never = await acme.post("/jobs", json={**order, "text": "0123456789" * 2})
        assert (never.status_code, never.headers.get("retry-after")) == (429, None)
        assert never.headers["x-should-retry"] == "false"
        shown = (await acme.get("/quota")).json()
        of_day = next(row for row in shown["limits"] if row["limit"] == "characters_day")
        assert (of_day["value"], of_day["used"], of_day["reserved"]) == (12, 0, 10)
        lines = (await acme.get("/metrics")).text.splitlines()
        assert 'speechfleet_quota_taken{limit="characters_day",namespace="acme"} 10.0' in lines
        assert 'speechfleet_quota_limit{limit="queued",namespace="acme"} 2.0' in lines
        refused_sum = (
            'speechfleet_quota_refused_total{limit="characters_day",namespace="acme"} 2.0'
        )
        assert refused_sum in lines
        assert of_day["refused"] == 2


async def test_a_client_tries_again_by_itself_where_there_is_room_soon(
    web: httpx.ASGITransport, client: AsyncClient
) -> None:
    await client.ledger.quotas.set("acme", Quota(streams=1), {"espeak": 0})
    order = {"text": "One.", "model": ESPEAK}
    async with http_to(web, KEY) as acme:
        assert (await acme.post("/jobs", json=order)).status_code == 201
        refused = await acme.post("/jobs", json=order)
        assert refused.status_code == 429
        assert refused.headers["x-should-retry"] == "true"
        assert int(refused.headers["retry-after"]) < 60


async def test_webhooks_are_shown_without_what_may_be_secret(
    web: httpx.ASGITransport, client: AsyncClient
) -> None:
    hook = new_webhook("acme", "https://example.org/hook?token=secret")
    await client.ledger.webhooks.put(hook)
    await client.ledger.webhooks.put(new_webhook("another", "https://example.org/"))
    async with http_to(web, KEY) as acme:
        answer = await acme.get("/webhooks")
        [shown] = answer.json()["webhooks"]
        assert (shown["id"], shown["url"]) == (hook.id, "https://example.org/hook")
        assert (shown["sent"], shown["waiting"], shown["oldest"]) == (0, 0, 0)
        assert "secret" not in answer.text
        families = (await acme.get("/metrics")).text
    for name in ("sent_total", "failed_total", "given_up_total", "waiting", "dead",
                 "oldest_seconds"):  # fmt: skip
        line = f'speechfleet_webhook_{name}{{namespace="acme",webhook="{hook.id}"}} 0.0'
        assert line in families.splitlines()


async def test_metrics_show_namespaces_that_have_the_default_quota(
    web: httpx.ASGITransport, client: AsyncClient
) -> None:
    await client.ledger.quotas.set(EVERY_NAMESPACE, Quota(streams=2), {"espeak": 0})
    async with http_to(web, KEY) as acme:
        await acme.post("/jobs", json={"text": "One.", "model": ESPEAK})
        lines = (await acme.get("/metrics")).text.splitlines()
    assert 'speechfleet_quota_taken{limit="streams",namespace="acme"} 1.0' in lines


# --- keys ---------------------------------------------------------------------------------------


@pytest.fixture
async def stored(redis_url: str, folder_store_url: str) -> AsyncIterator[httpx.ASGITransport]:
    settings = {"gateway_stored_keys": True}
    async with gateway(redis_url, folder_store_url, **settings) as transport:
        yield transport


async def made(client: AsyncClient, *scopes: str, expires: float | None = None) -> str:
    key, name = make_key(), "-".join(scopes)
    stored = StoredKey(digest(key), client.namespace, name, scopes, time.time(), expires)
    await client.ledger.api_keys.add(stored)
    return key


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("speak", {"POST /jobs"}), ("read", {"GET /jobs"}), ("admin", {"GET /fleet", "GET /metrics"}),
     ("metrics", {"GET /metrics"})],
    ids=["speak", "read", "admin", "metrics"],
)  # fmt: skip
async def test_a_key_may_do_what_its_scope_says(
    stored: httpx.ASGITransport, client: AsyncClient, scope: str, allowed: set[str]
) -> None:
    async with http_to(stored, await made(client, scope)) as caller:
        for request in ("POST /jobs", "GET /jobs", "GET /fleet", "GET /metrics"):
            method, path = request.split()
            body = {"text": "One.", "model": ESPEAK} if method == "POST" else None
            answer = await caller.request(method, path, json=body)
            if request in allowed:
                assert answer.status_code in (200, 201)
            else:
                assert (answer.status_code, code_of(answer)) == (403, "scope_missing")


async def test_a_revoked_key_opens_nothing_nor_do_its_logins(
    stored: httpx.ASGITransport, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_keys, "REMEMBERED_S", 0.0)
    key = await made(client, "read")
    async with http_to(stored, key) as caller, http_to(stored) as browser:
        assert (await caller.get("/jobs")).status_code == 200
        assert (await browser.post("/login", json={"key": key})).status_code == 204
        assert (await browser.get("/login")).json()["namespace"] == "acme"
        assert (await browser.get("/jobs")).status_code == 200
        assert await client.ledger.api_keys.revoke("acme", "read") == 1
        assert (await caller.get("/jobs")).status_code == 401
        assert (await browser.get("/jobs")).status_code == 401


async def test_a_key_is_remembered_for_a_moment_and_an_expired_one_opens_nothing(
    stored: httpx.ASGITransport, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_keys, "REMEMBERED_S", 600.0)  # the moment is longer than the test
    key = await made(client, "read")
    old = await made(client, "speak", expires=time.time() - 1)
    async with http_to(stored, key) as caller, http_to(stored, old) as late:
        assert (await caller.get("/jobs")).status_code == 200
        await client.ledger.api_keys.revoke("acme", "read")
        assert (await caller.get("/jobs")).status_code == 200
        assert (await late.post("/jobs", json={"text": "x"})).status_code == 401


async def test_keys_of_settings_go_on_beside_stored_ones(
    web: httpx.ASGITransport, client: AsyncClient
) -> None:
    async with http_to(web, KEY) as ours, http_to(web, await made(client, "read")) as stored:
        assert (await ours.get("/fleet")).status_code == 200
        assert (await stored.get("/jobs")).status_code == 200


async def test_redis_knows_only_the_hash_of_a_key(client: AsyncClient) -> None:
    key = await made(client, "read")
    kept = await client.ledger.connection.scripts.call("HGETALL", tenant_keys.API_KEYS)
    assert key not in str(kept)
    assert digest(key) in str(kept)


def test_the_command_makes_lists_and_revokes_keys(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", redis_url)

    def command(*words: str) -> Any:
        status = app.run([*words, "--json"])
        return status, json.loads(capsys.readouterr().out)

    made = command("keys", "make", "ci", "--scope", "speak", "--expires", "30d")[1]
    assert made["key"].startswith("sf-")
    assert command("keys", "make", "ci")[0] == 2, "the name is taken"
    assert command("keys", "make", "x", "--scope", "fly")[0] == 2
    assert command("keys", "make", "x", "--expires", "soon")[0] == 2
    assert command("keys", "make", "x", "--expires", "2020-01-01")[0] == 2, "it is past"
    assert command("keys", "make", "x", "--expires", "0d")[0] == 2
    [listed] = command("keys", "list")[1]["keys"]
    assert (listed["name"], listed["scopes"]) == ("ci", ["speak"])
    assert listed["expires"] == pytest.approx(time.time() + 30 * 86_400, abs=60)
    assert "key" not in listed
    assert command("keys", "revoke", "ci") == (0, {"revoked": "ci"})
    assert command("keys", "revoke", "ci")[0] == 2


def test_the_command_sets_and_shows_a_quota(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", redis_url)

    def command(*words: str) -> Any:
        status = app.run(words)
        return status, capsys.readouterr()

    assert command("quota", "--set", "characters_day=1_000", "--set", "streams=2")[0] == 0
    shown = command("quota", "--set", "streams=none", "--json")[1].out
    assert [row["limit"] for row in json.loads(shown)["quota"]["limits"]] == ["characters_day"]
    assert "1,000" in command("usage")[1].out
    status, printed = command("quota", "--set", "wishes=3")
    assert status == 2
    assert "characters_month" in printed.err
    assert command("quota", "--default", "--set", "queued=7")[1].out == "queued: 7\n"
    assert command("quota", "--remove")[0] == 0
    assert json.loads(command("quota", "--json")[1].out)["quota"]["by_default"]
