"""Middleware that writes a line for each job and each segment into a file of your own.

Run the workers with SPEECHFLEET_MIDDLEWARE=audit_log:AuditLog and AUDIT_LOG=/var/log/speech.jsonl
"""

import asyncio
import json
import os
from pathlib import Path

from speechfleet_worker.middleware import JobInfo, JobOutcome, Middleware, SegmentInfo


class AuditLog(Middleware):
    """Append JSON lines, in a thread: hooks must not block the worker's event loop."""

    def __init__(self) -> None:
        self.path = Path(os.environ.get("AUDIT_LOG", "speech.jsonl"))

    async def before_job(self, job: JobInfo) -> None:
        await self.write("begun", job, model=job.model, attempt=job.attempt)

    async def after_segment(self, job: JobInfo, segment: SegmentInfo) -> None:
        await self.write(
            "segment",
            job,
            text=segment.spoken_text,
            seconds=segment.duration_s,
            cached=segment.cached,
            request_id=segment.request_id,
        )

    async def after_job(self, job: JobInfo, outcome: JobOutcome) -> None:
        await self.write("ended", job, state=outcome.state, code=outcome.code)

    async def write(self, event: str, job: JobInfo, **fields: object) -> None:
        line = json.dumps({"event": event, "namespace": job.namespace, "job": job.id, **fields})
        await asyncio.to_thread(self.append, line + "\n")

    def append(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
