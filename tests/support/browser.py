"""A real Chromium, driven by playwright, as the tests of the console need it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="THE CONSOLE IS NOT TESTED: no Chromium on PATH (Debian, Ubuntu: apt install chromium)",
)
WITHIN = 120_000
"""Milliseconds that anything on a page may take."""


@asynccontextmanager
async def browsing(url: str, **context: object) -> AsyncIterator[Page]:
    """A page at ``url``; whatever goes wrong in its scripts fails the test at the end."""
    wrong: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"]
        )
        page = await browser.new_page(**context)  # type: ignore[arg-type]  # playwright's names
        page.set_default_timeout(WITHIN)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(url)
        yield page
        await browser.close()
    assert wrong == []
