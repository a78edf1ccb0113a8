"""The Celery message of a job, as Celery itself would send it (protocol 2, kombu on Redis).

The record is the truth and the message only a hint, so it carries the job's name and its
sequence number and nothing else. It is written by the same script that writes the record,
hence a template: ``@TASK@``, ``@JOB@``, ``@SEQ@``, ``@QUEUE@`` and ``@PRIORITY@`` are filled in
there. So a
client needs neither celery nor kombu; a test compares this with what ``apply_async`` sends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

TASK = "speechfleet.speak"
NUDGE = "speechfleet.nudge"
"""The task that tells the worker which holds a session that there is more text."""
BEHIND = "\x06\x163"
"""kombu's suffix for priority 3, popped after priority 0, which is the head of the line."""


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
class Hint:
    """What a message says: this job, as of this sequence number."""

    name: str
    sequence: str

    @classmethod
    def decode(cls, message: bytes) -> Hint | None:
        """From the raw message of a queue; None for a message of another task."""
        data: dict[str, Any] = json.loads(message)
        if data["headers"].get("task") != TASK:
            return None
        (name, sequence), *_ = json.loads(data["body"])
        return cls(name, str(sequence))
