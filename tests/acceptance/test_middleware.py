"""Hooks in real workers: registered by the setting, around real jobs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.stage import ROOT, gather, staged, submit

EXAMPLES = ROOT / "docs" / "examples"


async def test_hooks_change_what_is_spoken_and_see_every_job(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    environ = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLES)]),
        "SPEECHFLEET_MIDDLEWARE": "pronunciation_fix:PronunciationFix, audit_log:AuditLog",
        "AUDIT_LOG": str(log),
    }
    with staged(tmp_path, environ) as stage:
        async with stage.client() as client:
            job = await submit(client, "a", ["We use SQL.", "It is fine."], segments="sentence")
            (speech,) = await gather(job.result())
            assert set(await stage.ledger.asked()) == {"We use sequel.", "It is fine."}
            record = await job.record()
            assert speech.usage["characters"] == len("We use SQL.It is fine.")
            segments = await client.ledger.jobs.segments("default", "a", record.epoch)
            assert [(s.text_start, s.text_end) for s in segments] == [(0, 11), (12, 23)]
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["event"] for entry in entries] == ["begun", "segment", "segment", "ended"]
    assert entries[1]["text"] == "We use sequel."
    assert entries[-1]["state"] == "succeeded"
