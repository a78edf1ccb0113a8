"""A scene: the corpus as files in a folder, by a batch that is interrupted and resumed."""

from __future__ import annotations

import json
from contextlib import aclosing

from speechfleet.batch.batch import Summary
from speechfleet.batch.manifest import NAME
from speechfleet.demo.corpus import articles
from speechfleet.demo.stage import Stage

INTERRUPTED_AFTER = 60
WINDOW = 20
"""Items in the fleet at once: few, so that some are left when it is interrupted."""


async def resume_batch(stage: Stage) -> None:
    """Run a batch three times: interrupted, resumed, and with nothing left to do."""
    out = stage.fleet.data / "declaration"
    stage.title("The corpus as files in a folder, interrupted and resumed")
    stage.say(f"  {out}")
    items = [{"id": text.id, "text": text.text, "language": text.language} for text in articles()]
    known = await _run(stage, items, at_most=INTERRUPTED_AFTER)
    if not known.skipped:
        stage.say(f"  interrupted after {known.succeeded} items")
    rest = await _run(stage, items)
    stage.claim(
        f"the same call resumed: {rest.skipped} were done, {rest.succeeded} were left",
        holds=rest.skipped >= known.succeeded + known.skipped
        and rest.skipped + rest.succeeded == len(items),
    )
    again = await _run(stage, items)
    stage.claim(
        f"a finished corpus costs nothing: {again.skipped} of {len(items)} were done",
        holds=again.skipped == len(items) and again.succeeded == 0,
    )
    billed = sum(run.spent.characters for run in (known, rest, again))
    stage.claim(
        f"{billed:,.0f} characters were paid for: the segments of these texts were stored",
        holds=billed == 0,
    )
    lines = (out / NAME).read_text(encoding="utf-8").splitlines()
    entries = {entry["id"]: entry for entry in map(json.loads, lines)}
    stage.claim(
        f"{len(entries)} entries in {NAME}, each with its file",
        holds=len(entries) == len(items)
        and all(
            (out / entry["path"]).stat().st_size == entry["bytes"] for entry in entries.values()
        ),
    )


async def _run(stage: Stage, items: list[dict[str, str]], at_most: int = 0) -> Summary:
    """Run the batch, and leave it after ``at_most`` entries if any are given."""
    out = stage.fleet.data / "declaration"
    batch = stage.client.batch(items, id="declaration", out=out, window=WINDOW)
    count = 0
    async with aclosing(batch.results()) as entries:
        async for _ in entries:
            count += 1
            if count == at_most:
                break
    return batch.summary
