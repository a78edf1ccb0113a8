"""The pages of the console that look after a fleet: now, batches, sessions, usage, search.

``PICTURES=docs/assets pytest tests/acceptance/test_console_pages.py`` takes the pictures of the
documentation anew.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.async_api import Page, ViewportSize, expect

from speechfleet import Lane, Msg, Request
from speechfleet.batch.pricing import unit_prices
from speechfleet.quotas import Quota
from speechfleet.webhooks import new_webhook
from tests.support.browser import WITHIN, browsing, needs_chromium
from tests.support.console_hour import write_hour
from tests.support.gateways import ESPEAK, gateway
from tests.support.stage import UNSERVED, Stage, staged

pytestmark = needs_chromium
expect.set_options(timeout=WITHIN)
PAGES = ("", "speak", "jobs", "batches", "batches/pages", "sessions", "fleet", "usage", "tenant")
WIDTHS = (390, 1280, 1920)
LONG_ID = "3f2b8c1e-9d4a-4f6b-8e1c-5a7d9b0c2e41"
MODEL = "studio/anna"
REFUSED = {"fail": "rejected"}
HAMLET = (
    "To be, or not to be, that is the question. Whether it is nobler in the mind to suffer the "
    "slings and arrows of outrageous fortune, or to take arms against a sea of troubles. To die, "
    "to sleep, no more."
)


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    environ = {
        "SPEECHFLEET_PROVIDERS": "studio=tests.support.slow_model:SlowModel",
        "SPEECHFLEET_PRICES": '{"studio": {"per_million": 30.0}}',
    }
    with staged(module_folder, environ, workers=1) as stage:
        yield stage


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    with gateway(stage.fleet, module_folder) as url:
        yield url


async def spoken_batch(stage: Stage, id: str, items: int, **keywords: object) -> None:
    """Leave a batch to the fleet, the first item of which fails once."""
    texts = [
        {"id": f"line/{number}", "text": f"Line {number} of {id}.", "options": {}}
        for number in range(items)
    ]
    texts[0]["options"] = {**REFUSED, "failures": 1}
    async with stage.client() as client:
        await client.batch(texts, id=id, model=MODEL, **keywords).detach()  # type: ignore[arg-type]


async def test_the_start_page_tells_what_the_fleet_does(stage: Stage, url: str) -> None:
    async with stage.client() as client:
        await (await client.submit("All is well.", model=ESPEAK)).result(timeout=120)
        await client.submit("It fails.", id=LONG_ID, model=MODEL, options=REFUSED)
        await client.submit("It waits.", id="waiting", model=UNSERVED)
    async with browsing(url) as page:
        verdict = page.locator(".verdict")
        await expect(verdict).to_have_text("Jobs wait that no worker takes: nobody (live).")
        tiles = page.locator(".totals > div")
        await expect(tiles.filter(has_text="Failed")).to_contain_text("1")
        await expect(tiles.filter(has_text="Waiting")).to_contain_text("the oldest for")
        await expect(tiles.filter(has_text="First audio")).to_contain_text("95 % within")
        await expect(page.get_by_role("row", name=LONG_ID)).to_contain_text("request_rejected")
        await told_lately(page, "1 succeeded")
        await told_lately(page, "1 failed")
        async with stage.client() as client:
            await client.job("waiting").cancel()
        await told_lately(page, "1 cancelled")
        await page.get_by_role("link", name="Failed", exact=True).click()
        await expect(page.get_by_role("combobox", name="Changed within")).to_have_value("3600")
        await expect(page.get_by_role("row", name=LONG_ID)).to_be_visible()


async def told_lately(page: Page, words: str) -> None:
    """Wait until the chart of ends tells this of one of its last minutes: a minute may end."""
    chart = page.get_by_role("group", name="Jobs a minute")
    told = page.locator(".chart").first.locator(".told")
    async with asyncio.timeout(WITHIN / 1000):
        while True:
            for key in ("End", *["ArrowLeft"] * 5):
                await chart.press(key)
                if words in await told.inner_text():
                    return


async def test_jobs_are_filtered_and_paged(stage: Stage, url: str) -> None:
    async with stage.client() as client:
        many = [Msg("", "One of many.", "assistant", id=f"many-{n:02}") for n in range(30)]
        for job in await client.submit_many(many, model=ESPEAK):
            await job.result(timeout=120)
    async with browsing(f"{url}/#/jobs?model=espeak") as page:
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(25)
        first = await rows.first.locator("a").inner_text()
        await page.get_by_role("button", name="Older").click()
        await expect(rows.filter(has_text=first)).to_have_count(0)
        await page.reload()
        await expect(page.get_by_role("searchbox", name="Of this model")).to_have_value("espeak")
        await page.get_by_role("button", name="Newer").click()
        await expect(rows.filter(has_text=first)).to_have_count(1)
        await page.get_by_role("combobox", name="Lane").select_option("session")
        await expect(page.get_by_text("No job matches.")).to_be_visible()


async def test_a_batch_is_followed_retried_and_downloaded(stage: Stage, url: str) -> None:
    await spoken_batch(stage, "tried again", 5)
    async with browsing(f"{url}/#/batches") as page:
        await page.get_by_role("link", name="tried again").click()
        facts = page.locator(".job")
        await expect(facts).to_contain_text("4 spoken, 1 failed")
        await expect(page.get_by_role("row", name="tried again/line/0")).to_be_visible()
        await page.get_by_role("button", name="Retry failed").click()
        await expect(page.get_by_text("1 items are spoken again")).to_be_visible()
        await expect(facts).to_contain_text("5 spoken")
        bar = page.get_by_role("progressbar")
        await expect(bar).to_have_attribute("aria-valuenow", "100")
        await expect(page.locator(".job .state")).to_have_text("ended")
        async with page.expect_download() as saving:
            await page.get_by_role("link", name="Download audio").click()
        content = (await (await saving.value).path()).read_bytes()
        with ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == [f"line%2F{number}.wav" for number in range(5)]
            assert archive.read("line%2F0.wav").startswith(b"RIFF")
        manifest = await page.request.get(f"{url}/batches/tried%20again/manifest")
        assert (await manifest.text()).count('"SUCCEEDED"') == 5
        missing = await page.request.get(f"{url}/batches/nobody/audio.zip")
        assert missing.status == 404


async def test_any_id_is_found_from_any_page(stage: Stage, url: str) -> None:
    async with stage.client() as client:
        await client.submit("Found.", id="to be/found", model=ESPEAK)
        await client.ledger.batches.open(client.namespace, "a batch", window=1)
    async with browsing(f"{url}/#/fleet") as page:
        field = page.get_by_role("searchbox", name="Id of a job or a batch")
        for id in ("to be/found", "a batch"):
            await field.fill(id)
            await field.press("Enter")
            await expect(page.locator("h1.id")).to_have_text(id)
        await field.fill("nowhere")
        await field.press("Enter")
        await expect(page.locator("#not-found")).to_contain_text("no job and no batch")


async def test_sessions_usage_and_providers_are_shown(stage: Stage, url: str) -> None:
    async with stage.client() as client:
        await (await client.submit("Used today.", model=ESPEAK)).result(timeout=120)
        talk = Request(text="", model=MODEL, lane=Lane.SESSION, open=True)
        await client.ledger.jobs.submit(client.namespace, "talk", talk)
    async with browsing(f"{url}/#/sessions") as page:
        await expect(page.get_by_role("row", name="talk")).to_contain_text("queued, no worker")
        await page.get_by_role("link", name="Usage").click()
        await expect(page.locator("tbody tr").first).to_contain_text(ESPEAK)
        await page.get_by_role("link", name="Fleet", exact=True).click()
        providers = page.get_by_role("table", name="Providers")
        await expect(providers.get_by_role("row", name="openai")).to_contain_text("none: set")
    async with stage.client() as client:
        await client.job("talk").cancel()


async def test_the_quota_and_the_webhooks_of_a_tenant_are_shown(stage: Stage, url: str) -> None:
    quota = Quota(characters_day=1_000_000, store_bytes=9_000_000_000)
    async with stage.client() as client:
        await client.ledger.quotas.set(client.namespace, quota, unit_prices(client.settings))
        hook = new_webhook(client.namespace, "https://example.org/hook")
        await client.ledger.webhooks.put(hook)
        async with browsing(f"{url}/#/tenant") as page:
            limits = page.get_by_role("table", name="Quota")
            row = limits.get_by_role("row", name="Characters a day")
            await expect(row).to_contain_text("1,000,000")
            await expect(limits.get_by_role("row", name="In the store")).to_contain_text("9 GB")
            receivers = page.get_by_role("table", name="Webhooks")
            await expect(receivers.get_by_role("row", name=hook.id)).to_contain_text("enabled")
        await client.ledger.webhooks.remove(client.namespace, hook.id)
        await client.ledger.quotas.remove(client.namespace)


async def test_a_gateway_that_is_gone_and_a_login_that_ended(url: str) -> None:
    async with browsing(f"{url}/#/fleet") as page:
        await expect(page.locator(".totals > div").first).to_be_visible()
        await page.route("**/fleet", lambda route: route.abort())
        notice = page.locator("#notice")
        await expect(notice).to_have_text("The gateway does not answer.")
        await page.unroute("**/fleet")
        await expect(notice).to_be_hidden()
        nobody = {"required": True, "namespace": None}
        await page.route("**/login", lambda route: route.fulfill(json=nobody))
        await page.route("**/fleet", lambda route: route.fulfill(status=401, json={}))
        await expect(page.get_by_label("API key")).to_be_focused()
        await expect(page.get_by_role("navigation")).to_be_hidden()


async def test_pages_fit_every_screen_and_the_documentation_shows_them(
    stage: Stage, url: str, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    await spoken_batch(stage, "pages", 12)
    async with stage.client() as client:
        await client.submit("Refused.", id=LONG_ID[:-1], model=MODEL, options=REFUSED)
        hamlet = await client.submit(Msg("", HAMLET, "assistant", id="hamlet"))
        await hamlet.result(timeout=120)
        await write_hour(client)
    await spoken_batch(stage, "spring-catalogue", 400, window=1)
    async with browsing(url) as page:
        for width in WIDTHS:
            await page.set_viewport_size(ViewportSize(width=width, height=900))
            for name in PAGES:
                await page.goto(f"{url}/#/{name}")
                await expect(page.locator("main h1")).to_be_visible()
                await expect(page.get_by_text("Loading")).to_have_count(0)
                wider = "document.documentElement.scrollWidth - window.innerWidth"
                assert await page.evaluate(wider) <= 0, f"{name} at {width}"
        await take_pictures(page, url, folder)
    async with stage.client() as client:
        await client.batch(id="spring-catalogue").cancel()
    for name in ("console", "console-job"):
        assert (folder / f"{name}.png").stat().st_size > 20_000


async def take_pictures(page: Page, url: str, folder: Path) -> None:
    await page.set_viewport_size(ViewportSize(width=1280, height=800))
    await page.goto(f"{url}/#/")
    await expect(page.locator(".plot rect").first).to_be_visible()
    await expect(page.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "0")
    await page.screenshot(path=folder / "console.png")
    await page.goto(f"{url}/#/jobs/hamlet")
    await page.get_by_role("button", name="Play", exact=True).click()
    await expect(page.locator(".segment[aria-current]")).to_contain_text("Whether")
    await page.screenshot(path=folder / "console-job.png")
