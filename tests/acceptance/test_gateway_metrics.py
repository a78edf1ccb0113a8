"""One scrape tells the whole fleet; one log line, whose job it was; a link, where it lies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import moto_server
from tests.support.gateways import gateway, http, order
from tests.support.stage import MODEL, Stage, staged

ENVIRON = {"SPEECHFLEET_LOG_FORMAT": "json", "SPEECHFLEET_BACKOFF": "0.05"}
TEXT = "Words that are nobody's business."


@pytest.fixture(scope="module")
def stage(module_folder: Path, moto_url: str) -> Iterator[Stage]:
    """Two workers, and S3 as the store."""
    moto_server.reset(moto_url)
    environ = {**ENVIRON, **moto_server.environment(moto_url)}
    store = f"s3://{moto_server.BUCKET}/fleet"
    with staged(module_folder, environ, workers=2, store_url=store) as running:
        yield running


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    with gateway(stage.fleet, module_folder, redirect="true") as running:
        yield running


async def scrape(web: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    families = text_string_to_metric_families((await web.get("/metrics")).text)
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"speechfleet_{name}", frozenset(labels.items())


async def test_a_scrape_tells_what_all_workers_did(url: str) -> None:
    options = {"fail": "unavailable", "failures": 1}
    async with http(url) as web:
        for number in range(6):
            body = order(model=MODEL, voice="", input=f"Scraped {number}.", **options)
            assert (await web.post("/v1/audio/speech", json=body)).status_code == 200
        labels = {"model": MODEL, "lane": "live"}
        ended = key("jobs_ended_total", **labels, state="SUCCEEDED")
        route = {"route": "/v1/audio/speech", "method": "POST", "status": "200"}
        all_told = dict.fromkeys(
            [
                ended,
                key("first_audio_seconds_count", **labels),
                key("job_seconds_count", **labels),
                key("http_requests_total", **route),
            ],
            6.0,
        )
        # Workers tell what they counted every other second; the gateway counts behind its answer.
        async with asyncio.timeout(120):
            while not all_told.items() <= (found := await scrape(web)).items():
                pass
        assert found[key("job_seconds_sum", **labels)] > 6 * 0.05, "with what it waited"
        of = {"provider": "slow", "code": "provider_unavailable"}
        failed = found[key("retries_total", **of)]
        assert failed == found[key("provider_errors_total", **of)] >= 6
        assert found[key("usage_total", model=MODEL, kind="characters")] == 6 * len("Scraped 0.")
        assert found[key("published_bytes_total")] == 6 * 5 * 4800
        assert found[key("store_seconds_count")] > 6
        assert found[key("workers")] == 2
        assert found[key("unfinished_jobs")] == 0
        assert found[key("queue_depth", lane="live", provider="slow")] == 0


async def test_lines_are_json_with_the_id_and_without_the_text(
    url: str, module_folder: Path
) -> None:
    async with http(url, idempotency_key="logged", authorization="Bearer sf-secret") as web:
        options = {"fail": "rejected", "failures": 99}
        await web.post(
            "/v1/audio/speech", json=order(model=MODEL, voice="", input=TEXT, **options)
        )
        await web.get("/jobs/logged")
    logs = [module_folder / "gateway.log", *(module_folder / "data" / "logs").glob("worker*.log")]
    async with asyncio.timeout(120):  # a line is written after its answer was sent
        while not all_is_logged(logs):  # noqa: ASYNC110 # a log tells nobody
            await asyncio.sleep(0.05)
    for log in logs:
        text = await asyncio.to_thread(log.read_text)
        assert TEXT not in text
        assert "sf-secret" not in text


def all_is_logged(logs: list[Path]) -> bool:
    """Whether the gateway and a worker have written of the job."""
    texts = [log.read_text().rpartition("\n")[0] for log in logs]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    shown = any(line.get("route") == "/jobs/{id}" and line["status"] == 200 for line in lines)
    return shown and {"logged", "default/logged"} <= {line["job"] for line in lines}


async def test_stored_audio_is_a_presigned_link_where_that_is_set(url: str) -> None:
    async with http(url, idempotency_key="linked") as web:
        whole = await web.post("/v1/audio/speech", json=order(model=MODEL, voice=""))
        async with web.stream("GET", "/jobs/linked/events") as answer:
            await answer.aread()  # it is stored when the last event is told
        answer = await web.get("/jobs/linked/audio")
        assert answer.status_code == 307
        link = answer.headers["location"]
        assert "Signature" in urlsplit(link).query
        assert (await web.get(link)).content[44:] == whole.content[44:]
        by_a_page = {"sec-fetch-site": "same-origin"}
        assert (await web.get("/jobs/linked/audio", headers=by_a_page)).status_code == 200
