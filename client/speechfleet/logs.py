"""Log lines of workers and gateways: as text or as JSON, each with the job it is about.

Texts and keys are in no line.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

TEXT = "%(asctime)s %(levelname)s %(name)s [%(job)s] %(message)s"
QUIET = ("celery", "kombu", "amqp", "botocore", "httpx", "urllib3")

job: ContextVar[str] = ContextVar("job", default="-")
"""The name, ``namespace/msg.id``, of the job that this task works on: lines of libraries that
know nothing of jobs carry it too."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, job, message, and what was given as ``extra``
    under `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "job": getattr(record, "job", "-"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _with_job(record: logging.LogRecord) -> bool:
    if not hasattr(record, "job"):
        record.job = job.get()
    return True


def to_stderr(level: str, format: Literal["text", "json"] = "text") -> None:
    """Every line of this process from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else logging.Formatter(TEXT))
    handler.addFilter(_with_job)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
