"""Log lines of workers and gateways: as text or as JSON, each with the job it is about.

Texts and keys are in no line. What a client sent cannot forge a line or reach a terminal:
control characters are escaped, and every part has a limit.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

TEXT = "%(asctime)s %(levelname)s %(name)s [%(job)s] %(message)s"
NOISY = ("celery", "kombu", "amqp", "botocore", "httpx", "urllib3")
"""Loggers of libraries, of which only warnings are shown."""

MESSAGE_CHARACTERS = 2000
JOB_CHARACTERS = 600
"""A namespace and an id, each of 256 characters at most."""
TRACE_CHARACTERS = 20_000
REPEAT_WINDOW_S = 30.0
REPEATS = 5
"""Equal warnings and errors that are shown within a window."""
LOGGER_LINES = 500
"""Warnings and errors of one logger that are shown within a window."""
LOG_BYTES = 10 << 20
"""The size at which a log file is rotated."""

job: ContextVar[str] = ContextVar("job", default="-")
"""The name, ``namespace/msg.id``, of the job that this task works on: lines of libraries that
know nothing of jobs carry it too."""

# Controls, line separators, and marks that reorder text or hide in it.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ud800-\udfff]"
)


def escaped(text: str, limit: int) -> str:
    """Return the text in one line that is safe to print, cut to ``limit`` characters."""
    if len(text) > limit:
        text = f"{text[:limit]}... ({len(text):,} characters)"
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {10: "\\n", 13: "\\r", 9: "\\t"}.get(code) or f"\\u{code:04x}"


class TextFormatter(logging.Formatter):
    """One line a record; the lines of a trace below it are indented."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # logging's
        record.message = escaped(record.message, MESSAGE_CHARACTERS)
        record.job = escaped(str(getattr(record, "job", "-")), JOB_CHARACTERS)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 # logging's
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 # logging's
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    lines = text[-TRACE_CHARACTERS:].splitlines()
    return "\n".join(f"    {escaped(line, MESSAGE_CHARACTERS)}" for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, job, message, and the ``extra`` `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "job": str(getattr(record, "job", "-"))[:JOB_CHARACTERS],
            "message": record.getMessage()[:MESSAGE_CHARACTERS],
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-TRACE_CHARACTERS:]
        # What JSON leaves as it is may still move a terminal's cursor.
        return _UNSAFE.sub(_escape, json.dumps(line, ensure_ascii=False))


class RepeatFilter(logging.Filter):
    """Hold back warnings and errors that repeat without end.

    Equal ones are shown `REPEATS` times within `REPEAT_WINDOW_S`, and all of one logger
    `LOGGER_LINES` times.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._window = (clock(), Counter[tuple[str, str]]())

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        since, counts = self._window
        if self._clock() - since >= REPEAT_WINDOW_S:
            since, counts = self._window = (self._clock(), Counter())
        equal = (record.name, f"={record.getMessage()[:MESSAGE_CHARACTERS]}")
        for key, limit in ((equal, REPEATS), ((record.name, ""), LOGGER_LINES)):
            counts[key] += 1
            if counts[key] > limit:
                return self._is_last(record, limit + 1, counts[key])
        return True

    def _is_last(self, record: logging.LogRecord, last: int, count: int) -> bool:
        """Turn the first line that is too many into a note; hold the others back."""
        if count != last:
            return False
        record.msg = f"{record.getMessage()} (more such lines are held back for a while)"
        record.args, record.exc_info, record.exc_text = (), None, None
        return True


def _with_job(record: logging.LogRecord) -> bool:
    if not hasattr(record, "job"):
        record.job = job.get()
    return True


def to_stderr(level: str, format: Literal["text", "json"] = "text") -> None:
    """Send every line of this process to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    handler.addFilter(_with_job)
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def rotate(path: Path, limit: int = LOG_BYTES) -> bool:
    """Move a log file that is too large aside, as ``NAME.1``; tell whether it was.

    Its writer keeps it open (for appending), so it is copied and then emptied. What is written
    between the two is lost.
    """
    try:
        if path.stat().st_size <= limit:
            return False
        copy = path.with_name(f"{path.name}.1")
        shutil.copyfile(path, copy)
        os.truncate(path, 0)
    except OSError as error:  # a full disk, say: the log goes on growing, the process lives
        logging.getLogger(__name__).warning("%s cannot be rotated: %s", path, error)
        return False
    return True
