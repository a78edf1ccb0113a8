"""The checks of `doctor` on the store: each right that a fleet needs, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from speechfleet.cli.exit_status import status_of
from speechfleet.cli.findings import Finding, Verdict
from speechfleet.errors import SpeechFleetError
from speechfleet.store import Store

LONG_BYTES = 6 << 20
"""More than one part of a long object, of which S3 wants at least 5 MB."""
SLOW_S = 2.0


async def examine_store(store: Store) -> list[Finding]:
    """Use every right once, on objects that are deleted again; time each.

    A right that is missing is a finding of its own, and does not hide the others.
    """
    folder = f"speechfleet-probe/{uuid4().hex}/"
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: store.put(f"{folder}short", b"probe", media_type="text/plain"),
        "get": lambda: store.get(f"{folder}short"),
        "list": lambda: store.list(folder),
        "multipart": lambda: _upload(store, f"{folder}long"),
        "delete": lambda: store.sweep(folder),
    }
    failures, times = [], {}
    for right, step in steps.items():
        began = time.monotonic()
        try:
            await step()
        except SpeechFleetError as error:
            failures.append(
                Finding(
                    f"store {right}", Verdict.FAILURE, error.code, error.message, status_of(error)
                )
            )
        else:
            times[right] = time.monotonic() - began
    if failures:
        return failures
    await store.check()  # what the server makes of names, metadata and conditions
    shown = ", ".join(f"{right} {seconds * 1000:,.0f} ms" for right, seconds in times.items())
    slow = [right for right, seconds in times.items() if seconds > SLOW_S]
    findings = [Finding("store", Verdict.OK, f"{store.url}: {shown}")]
    if slow:
        mend = "use a store that is nearer, or look for what slows it down"
        found = f"{', '.join(slow)} took over {SLOW_S:g} s"
        findings.append(Finding("store speed", Verdict.WARNING, found, mend))
    return findings


async def _upload(store: Store, key: str) -> None:
    upload = store.upload(key, media_type="application/octet-stream")
    await upload.write(bytes(LONG_BYTES))
    await upload.commit()
