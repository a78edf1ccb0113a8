"""The Celery message of a job, as Celery itself would send it (protocol 2, kombu on Redis).

The record holds the truth about a job, and the message only says that there is work: it carries a
job's name and a sequence number. The script that writes the record also writes the message, so
this is a template: the script fills in ``@TASK@``, ``@JOB@``, ``@SEQ@``, ``@QUEUE@`` and
``@PRIORITY@``. So a client needs neither celery nor kombu; a test compares the result with the
message that ``apply_async`` sends.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

TASK = "speechfleet.speak"
NUDGE = "speechfleet.nudge"
"""The task that reports new text to the worker that holds a session."""
BEHIND = "\x06\x163"
"""kombu's suffix for priority 3, popped after priority 0, which is the head of the queue."""


def _template() -> str:
    id = "@JOB@#@SEQ@"
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    message = {
        "body": json.dumps([["@JOB@", "@SEQ@"], {}, embed]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "@TASK@",
            "id": id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": id,
            "parent_id": None,
            "argsrepr": "@JOB@",
            "kwargsrepr": "",
            "origin": "speechfleet",
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "@QUEUE@"},
            "priority": "@PRIORITY@",
            "body_encoding": "utf-8",
            "delivery_tag": id,
        },
    }
    return json.dumps(message).replace('"@PRIORITY@"', "@PRIORITY@")


TEMPLATE = _template()


@dataclass(frozen=True)
class JobMessage:
    """A message about a job: its name, and the number of the message."""

    name: str
    sequence: str

    @classmethod
    def decode(cls, message: bytes) -> JobMessage | None:
        """Read the raw message of a queue; None for one that is not readable, or not a job's.

        kombu writes a message that it gives back otherwise than it came: the body as an object
        that says how its bytes are encoded.
        """
        try:
            data: dict[str, Any] = json.loads(message)
            if data["headers"].get("task") != TASK:
                return None
            (name, sequence), *_ = json.loads(_body(data["body"]))
            return cls(name, str(sequence)) if isinstance(name, str) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _body(body: Any) -> bytes | str:
    if not isinstance(body, dict):
        return str(body)
    value = str(body["__value__"])
    return base64.b64decode(value) if body.get("__type__") == "base64" else value
