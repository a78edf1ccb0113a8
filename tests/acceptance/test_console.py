"""The console in a real browser, before a real fleet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from speechfleet import Msg
from speechfleet.gateway.access import digest, make_key
from tests.support.browser import WITHIN, browsing, needs_chromium
from tests.support.gateways import ESPEAK, gateway
from tests.support.slow_model import CHUNK
from tests.support.stage import MODEL, UNSERVED, Hold, Stage, staged

pytestmark = needs_chromium
expect.set_options(timeout=WITHIN)
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


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


async def spoken(stage: Stage, text: str, id: str, **options: Any) -> str:
    """The path of the page of a new job."""
    async with stage.client() as client:
        job = await client.submit(Msg("", text, "assistant", id=id), model=MODEL, **options)
    return f"#/jobs/{job.id}"


async def test_every_sample_that_is_sent_is_played(stage: Stage, url: str) -> None:
    async with browsing(f"{url}/#/speak") as page:
        await expect(page.get_by_role("combobox", name="Model")).to_contain_text(ESPEAK)
        await page.get_by_role("combobox", name="Model").select_option(ESPEAK)
        await page.get_by_role("textbox", name="Text").fill(
            "First come many words that take a while to be spoken, so that they can be seen on a "
            "machine that does many another thing at the same time. And the second sentence."
        )
        await page.get_by_role("button", name="Speak").click()
        await expect(page.locator(".segment[aria-current]")).to_contain_text("First")
        await expect(page.locator(".segment[aria-current]")).to_contain_text("second")
        await expect(deck(page)).to_have_attribute("data-state", "ended")
        id = await page.locator(".job .id").inner_text()
        async with stage.client() as client:
            sent = (await client.job(id).record()).audio // 2
        assert await measured(page, "received", "played") == [sent, sent]


async def test_a_job_is_heard_while_it_is_made(stage: Stage, url: str, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    path = await spoken(stage, "Heard while it is made.", "making", chunks=150, **hold.options)
    async with browsing(f"{url}/{path}") as page:
        await page.get_by_role("button", name="Play", exact=True).click()
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        await expect(deck(page)).not_to_have_attribute("data-played", "0")
        await page.get_by_role("button", name="Pause").click()
        await expect(deck(page)).to_have_attribute("data-state", "paused")
        hold.release()
        await expect(page.locator(".job .state")).to_have_text("succeeded")
        # All of it comes, although it is not heard.
        await expect(deck(page)).to_have_attribute("data-received", str(150 * CHUNK // 2))
        received, played = await measured(page, "received", "played")
        assert 0 < played < received
        await page.get_by_role("button", name="Replay").click()
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        await page.get_by_role("slider", name="Position").fill("14.8")
        await expect(deck(page)).to_have_attribute("data-state", "ended")
        async with page.expect_download() as saving:
            await page.get_by_role("link", name="Download").click()
        saved = await (await saving.value).path()
        assert saved.read_bytes().startswith(b"RIFF")


NOTE_HEARD_WORDS = """() => {
    window.heardWords = [];
    new MutationObserver(() => {
        const word = document.querySelector(".word.heard")?.textContent;
        if (word && word !== window.heardWords.at(-1)) {
            window.heardWords.push(word);
        }
    }).observe(document.body, {subtree: true, attributes: true, attributeFilter: ["class"]});
}"""
"""Note each word that becomes the heard one, in ``window.heardWords``."""


async def test_a_sentence_is_spoken_again_and_its_take_chosen(stage: Stage, url: str) -> None:
    path = await spoken(stage, "Said once. Said twice.", "takes")
    async with browsing(f"{url}/{path}") as page, stage.client() as client:
        again = page.get_by_role("button", name="Speak again")
        await page.get_by_text("Speak a sentence again").click()
        await expect(again).to_have_count(2)
        await page.get_by_role("textbox", name="Voice").fill("another")
        await again.nth(1).click()
        second = page.get_by_role("button", name="Take 2")
        await expect(second).to_have_attribute("aria-pressed", "true")
        assert [(t.segment, t.voice) for t in await client.job("takes").takes()] == [
            (1, ""),
            (1, "another"),
        ]
        await page.get_by_role("button", name="Take 1").click()
        await expect(second).to_have_attribute("aria-pressed", "false")
        assert [t.chosen for t in await client.job("takes").takes()] == [True, False]
        assert (await client.job("takes").record()).epoch == 3


async def test_the_word_that_is_heard_is_marked_and_a_click_plays_from_a_word(
    stage: Stage, url: str
) -> None:
    text = (
        "Alpha bravo charlie delta. Echo foxtrot golf hotel india juliett kilo lima mike november "
        "oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu."
    )
    async with stage.client() as client:
        job = await client.submit(Msg("", text, "assistant", id="words"), model=ESPEAK)
        speech = await job.result(timeout=120)
        words = {text[word.text_start : word.text_end]: word for word in await speech.words()}
    async with browsing(f"{url}/#/jobs/words") as page:
        await expect(page.locator(".word")).to_have_count(26)
        assert await page.locator(".passage").inner_text() == text
        await page.evaluate(NOTE_HEARD_WORDS)
        await page.locator(".word", has_text="juliett").click()
        await expect(page.locator(".word.heard")).to_have_count(1)
        assert (await page.evaluate("window.heardWords"))[0] == "juliett"
        await page.get_by_role("button", name="Pause").click()
        [position] = await page.get_by_role("slider", name="Position").evaluate_all(
            "sliders => sliders.map((slider) => slider.valueAsNumber)"
        )
        word = words["juliett"]
        assert word.start <= position * 2 * speech.sample_rate
        await page.evaluate("window.heardWords = []")
        await page.locator(".word", has_text="bravo").click()
        await expect(deck(page)).to_have_attribute("data-state", "ended")
        heard = await page.evaluate("window.heardWords")
        from_bravo = text.split()[1:]
        # A machine under load shows some words too late; those that it shows come in order.
        assert heard[0] == "bravo"
        assert len(heard) > len(from_bravo) / 4
        assert heard == [word for word in from_bravo if word in heard]


async def test_a_job_is_cancelled_and_tried_again(stage: Stage, url: str) -> None:
    path = await spoken(stage, "Stopped and begun again.", "stopping", pace=0.1, chunks=600)
    async with browsing(f"{url}/{path}") as page:
        state = page.locator(".job .state")
        await expect(state).to_have_text("running")
        await page.get_by_role("button", name="Cancel").click()
        await expect(state).to_have_text("cancelled")
        await page.get_by_role("button", name="Retry").click()
        await expect(state).to_have_text("running")
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
        queued = page.get_by_role("button", name="queued")
        await queued.click()
        async with stage.client() as client:
            job = await client.submit("Nobody takes this.", model=UNSERVED)
        row = page.get_by_role("row", name=job.id)
        await expect(row).to_contain_text("queued, no worker")
        await page.get_by_role("link", name="Fleet", exact=True).click()
        line = page.get_by_role("table", name="Queues").get_by_role("row", name="nobody")
        await expect(line.get_by_role("cell").nth(1)).to_have_text("1")
        heart = page.get_by_role("img", name="alive")
        beats = await heart.get_attribute("data-beats")
        assert beats
        await expect(heart).not_to_have_attribute("data-beats", beats)
        async with stage.client() as client:
            await client.job(job.id).cancel()
        await expect(line.get_by_role("cell").nth(1)).to_have_text("0")


async def test_a_filter_stays_where_it_was(url: str, stage: Stage) -> None:
    async with stage.client() as client:
        await client.submit("It fails.", model=MODEL, options={"fail": "rejected"})
    async with browsing(f"{url}/#/jobs") as page:
        failed = page.get_by_role("button", name="failed")
        await failed.click()
        await expect(page.locator("tbody .state").first).to_have_text("failed")
        await page.locator("tbody a").first.click()
        await expect(page.locator(".job .state")).to_have_text("failed")
        await page.go_back()
        await expect(failed).to_have_attribute("aria-pressed", "true")
        await page.reload()
        await expect(failed).to_have_attribute("aria-pressed", "true")


async def test_the_documentation_is_drawn_from_the_gateway(url: str) -> None:
    async with browsing(f"{url}/docs") as page:
        await expect(page.get_by_role("heading", name="POST /v1/audio/speech")).to_be_visible()
        await expect(page.get_by_role("row", name="response_format")).to_be_visible()


async def test_a_wrong_address_is_told(url: str) -> None:
    async with browsing(f"{url}/#/nowhere") as page:
        await expect(page.get_by_role("heading")).to_have_text("There is no such page")


async def test_the_keyboard_is_enough(url: str) -> None:
    async with browsing(f"{url}/#/speak") as page:
        text = page.get_by_role("textbox", name="Text")
        await expect(text).to_be_focused()
        await expect(page.get_by_role("combobox", name="Model")).to_contain_text(ESPEAK)
        await page.get_by_role("combobox", name="Model").select_option(ESPEAK)
        await text.fill(
            "By keys alone, without a mouse or a finger, as many people use every page there is. "
            "From the first of all the words to the very end of the last of them all. Whoever "
            "sees the page and whoever hears it can do the same things, and in the same order. "
            "So this text is long enough to be stopped, and begun again, before it has ended."
        )
        await text.press("Control+Enter")
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        await expect(deck(page).get_by_role("status")).to_have_text("Playing")
        button = page.get_by_role("button", name="Pause")
        await button.focus()
        await page.keyboard.press("Space")
        await expect(page.get_by_role("button", name="Play on")).to_be_focused()
        first, second = page.locator(".segment").first, page.locator(".segment").nth(1)
        await expect(second).to_be_visible()  # it comes while the first is heard, or later
        # Tab stops at one sentence only.
        await expect(page.locator(".segment[tabindex='0']")).to_have_count(1)
        await first.press("ArrowRight")
        await expect(second).to_be_focused()
        await page.keyboard.press("Home")
        await expect(first).to_be_focused()
        await first.press("Enter")
        await expect(deck(page)).to_have_attribute("data-state", "playing")
        told = await page.locator("body").aria_snapshot()
        for named in ('navigation "Pages"', 'slider "Position"', 'button "Pause"', "status"):
            assert named in told
        assert "- button\n" not in told, "every button has a name"


async def test_a_sentence_keeps_the_focus_while_others_come(
    stage: Stage, url: str, tmp_path: Path
) -> None:
    hold = Hold(tmp_path, "It stays")
    text = "The focus is here. It stays while more is spoken."
    path = await spoken(stage, text, "focused", **hold.options)
    async with browsing(f"{url}/{path}") as page:
        await page.get_by_role("button", name="Play", exact=True).click()
        sentences = page.locator(".segment")
        await expect(sentences).to_have_count(1)
        await sentences.first.focus()
        hold.release()
        await expect(sentences).to_have_count(2)
        await expect(sentences.first).to_be_focused()


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
            await expect(page.get_by_role("heading", name="Now")).to_be_visible()
            (cookie,) = await page.context.cookies()
            assert cookie["httpOnly"]
            assert cookie["sameSite"] == "Strict"
            await page.get_by_role("button", name="Log out").click()
            await expect(field).to_be_visible()
