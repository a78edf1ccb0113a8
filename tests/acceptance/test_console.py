"""The console in a real browser, before a real fleet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from speechfleet import Msg
from speechfleet.gateway.access import digest, make_key
from tests.acceptance.browser import WITHIN, browsing, needs_chromium
from tests.acceptance.conftest import MODEL, UNSERVED, Stage, staged
from tests.acceptance.gateways import ESPEAK, gateway

pytestmark = needs_chromium
expect.set_options(timeout=WITHIN)
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
STEADY = {"pace": 0.02, "chunks": 60}
"""Five times as fast as it is heard: 1.2 s to make, 6 s to hear."""


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1) as stage:
        yield stage


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    with gateway(stage.fleet, module_folder) as url:
        yield url


def deck(page: Page) -> Locator:
    return page.get_by_role("region", name="Player")


async def measured(page: Page, *names: str) -> list[int]:
    """Numbers that the player tells of itself."""
    return [int(await deck(page).get_attribute(f"data-{name}") or 0) for name in names]


async def spoken(stage: Stage, text: str, id: str, **options: object) -> str:
    """The path of the page of a new job."""
    async with stage.client() as client:
        job = await client.submit(Msg("", text, "assistant", id=id), model=MODEL, **options)
    return f"#/jobs/{job.id}"


async def test_every_sample_that_is_sent_is_played(stage: Stage, url: str) -> None:
    async with browsing(url) as page:
        await expect(page.get_by_role("combobox", name="Model")).to_contain_text(ESPEAK)
        await page.get_by_role("combobox", name="Model").select_option(ESPEAK)
        await page.get_by_role("textbox", name="Text").fill("First words. And now the second.")
        await page.get_by_role("button", name="Speak").click()
        await expect(page.locator(".segment[aria-current]")).to_contain_text("First")
        await expect(page.locator(".segment[aria-current]")).to_contain_text("second")
        await expect(deck(page)).to_have_attribute("data-state", "ended")
        id = await page.locator(".job .id").inner_text()
        async with stage.client() as client:
            sent = (await client.job(id).record()).audio // 2
        received, played, underruns = await measured(page, "received", "played", "underruns")
        assert (received, played, underruns) == (sent, sent, 0)


async def test_a_job_is_heard_while_it_is_made(stage: Stage, url: str) -> None:
    path = await spoken(stage, "Heard while it is made.", "making", **STEADY)
    async with browsing(f"{url}/{path}") as page:
        await page.get_by_role("button", name="Play", exact=True).click()
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        await expect(deck(page)).not_to_have_attribute("data-played", "0")
        # All of it has come long before all of it was heard.
        await expect(page.locator(".job .state")).to_have_text("done")
        received, played = await measured(page, "received", "played")
        assert 0 < played < received
        await page.get_by_role("button", name="Pause").click()
        await expect(deck(page)).to_have_attribute("data-state", "paused")
        await page.get_by_role("button", name="Replay").click()
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        await page.get_by_role("slider", name="Position").fill("5.8")
        await expect(deck(page)).to_have_attribute("data-state", "ended")
        async with page.expect_download() as saving:
            await page.get_by_role("link", name="Download").click()
        saved = await (await saving.value).path()
        assert saved.read_bytes().startswith(b"RIFF")


async def test_a_job_is_cancelled_and_tried_again(stage: Stage, url: str) -> None:
    path = await spoken(stage, "Stopped and begun again.", "stopping", pace=0.1, chunks=600)
    async with browsing(f"{url}/{path}") as page:
        state = page.locator(".job .state")
        await expect(state).to_have_text("speaking")
        await page.get_by_role("button", name="Cancel").click()
        await expect(state).to_have_text("cancelled")
        await page.get_by_role("button", name="Retry").click()
        await expect(state).to_have_text("speaking")
        await page.get_by_role("button", name="Cancel").click()
        await expect(state).to_have_text("cancelled")
        page.on("dialog", lambda dialog: dialog.accept())
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        await expect(page.get_by_role("link", name="stopping")).to_have_count(0)


async def test_markup_is_shown_and_never_run(stage: Stage, url: str) -> None:
    """In a text, an id, a voice and an error, on every page that shows them."""
    id, voice = f"<b>{HOSTILE}</b>", "<i>nobody</i>"
    async with stage.client() as client:
        msg = Msg("", HOSTILE, "assistant", id=id)
        await client.submit(msg, model=ESPEAK, voice=voice)
    async with browsing(f"{url}/#/jobs") as page:
        await page.get_by_role("link", name=id).click()
        await expect(page.locator(".passage")).to_have_text(HOSTILE)
        await expect(page.locator("dd").nth(1)).to_have_text(voice)
        await expect(page.locator(".job .state")).to_have_text("failed")
        assert await page.locator("main :is(img, script, b:not(.story b), i)").count() == 0
        assert "owned" not in (await page.title()).replace(HOSTILE, "")
        policy = (await page.request.get(url)).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy


async def test_jobs_and_fleet_are_live(stage: Stage, url: str) -> None:
    async with browsing(f"{url}/#/jobs") as page:
        waiting = page.get_by_role("button", name="waiting")
        await waiting.click()
        async with stage.client() as client:
            job = await client.submit("Nobody takes this.", model=UNSERVED)
        row = page.get_by_role("row", name=job.id)
        await expect(row).to_contain_text("waiting, no worker")
        await page.get_by_role("link", name="Fleet", exact=True).click()
        line = page.get_by_role("row", name="nobody")
        await expect(line.get_by_role("cell").nth(1)).to_have_text("1")
        heart = page.get_by_role("img", name="alive")
        beats = await heart.get_attribute("data-beats")
        assert beats
        await expect(heart).not_to_have_attribute("data-beats", beats)
        async with stage.client() as client:
            await client.job(job.id).cancel()
        await expect(line.get_by_role("cell").nth(1)).to_have_text("0")


async def test_the_keyboard_is_enough(url: str) -> None:
    async with browsing(url) as page:
        text = page.get_by_role("textbox", name="Text")
        await expect(text).to_be_focused()
        await expect(page.get_by_role("combobox", name="Model")).to_contain_text(ESPEAK)
        await page.get_by_role("combobox", name="Model").select_option(ESPEAK)
        await text.fill("By keys alone. To the end.")
        await text.press("Control+Enter")
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        await expect(deck(page).get_by_role("status")).to_have_text("Playing")
        button = page.get_by_role("button", name="Pause")
        await button.focus()
        await page.keyboard.press("Space")
        await expect(page.get_by_role("button", name="Play on")).to_be_focused()
        first = page.locator(".segment").first
        await first.press("Enter")
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        told = await page.locator("body").aria_snapshot()
        for named in ('navigation "Pages"', 'slider "Position"', 'button "Pause"', "status"):
            assert named in told
        assert "- button\n" not in told, "every button has a name"


async def test_a_key_opens_the_console(stage: Stage, tmp_path: Path) -> None:
    key = make_key()
    with gateway(stage.fleet, tmp_path, keys=f"default={digest(key)}") as guarded:
        async with browsing(guarded) as page:
            field = page.get_by_label("API key")
            await expect(field).to_be_focused()
            await field.fill("sf-wrong")
            await field.press("Enter")
            await expect(page.get_by_role("alert")).to_contain_text("not known")
            await field.fill(key)
            await field.press("Enter")
            await expect(page.get_by_role("button", name="Speak")).to_be_visible()
            (cookie,) = await page.context.cookies()
            assert cookie["httpOnly"]
            assert cookie["sameSite"] == "Strict"
            await page.get_by_role("button", name="Log out").click()
            await expect(field).to_be_visible()
