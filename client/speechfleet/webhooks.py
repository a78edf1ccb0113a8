"""Webhooks: who is told how jobs and batches of a namespace ended, and the signed messages.

Messages follow Standard Webhooks (https://www.standardwebhooks.com): a receiver checks the
signature, and knows a message that comes twice by its id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from speechfleet.record import in_seconds
from speechfleet.webhook_settings import EVENTS, WebhookSetting, check_url, key_of, make_secret

_WHOLE_NUMBERS = ("epoch", "attempts", "bytes")
_COUNTS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELLED": "cancelled"}


@dataclass(frozen=True)
class Secret:
    """A secret; ``until``: Unix seconds up to which an old one still signs, 0: no end."""

    value: str = field(repr=False)
    until: float = 0.0


@dataclass(frozen=True)
class Webhook:
    """A receiver of a namespace's events.

    ``secrets``: the newest first; ``disabled``: why it gets nothing, "" where it does;
    ``by_setting``: it comes from SPEECHFLEET_WEBHOOKS, and goes when it goes from there.
    """

    namespace: str
    id: str
    url: str
    secrets: tuple[Secret, ...]
    events: tuple[str, ...] = EVENTS
    disabled: str = ""
    by_setting: bool = False

    @property
    def host(self) -> str:
        """The host of the receiver: all of its URL that logs may show."""
        return urlsplit(self.url).hostname or ""

    def encode(self) -> str:
        """Encode as JSON."""
        return json.dumps({
            "id": self.id, "url": self.url, "events": list(self.events),
            "secrets": [[secret.value, secret.until] for secret in self.secrets],
            "disabled": self.disabled, "by_setting": self.by_setting,
        })  # fmt: skip

    @classmethod
    def decode(cls, namespace: str, data: bytes) -> Webhook:
        """Read what `encode` has written. Raises ValueError, KeyError."""
        values = json.loads(data)
        return cls(
            namespace,
            values["id"],
            values["url"],
            tuple(Secret(value, until) for value, until in values["secrets"]),
            tuple(values["events"]),
            values["disabled"],
            bool(values["by_setting"]),
        )


@dataclass(frozen=True)
class WebhookEvent:
    """An event on its way to a receiver.

    ``id``: the same for each try; ``at``: when it happened, Unix milliseconds; ``subject``: the
    name of its job or batch; ``tries``: those that failed; ``since``: when it was queued.
    """

    id: str
    type: str
    at: int
    subject: str
    fields: Mapping[str, str]
    tries: int = 0
    since: int = 0

    @classmethod
    def decode(cls, data: bytes | str, tries: int = 0, since: int = 0) -> WebhookEvent:
        """Read an event as a script has queued it. Raises ValueError, KeyError."""
        values = json.loads(data)
        fields = values["fields"] or {}
        return cls(
            values["id"],
            values["type"],
            int(values["at"]),
            values["subject"],
            fields,
            tries,
            since,
        )

    @property
    def subject_id(self) -> str:
        """The id of its job or batch."""
        return unquote(self.subject.partition("/")[2])

    def body(self) -> bytes:
        """Return the message's body; the same for each try."""
        namespace = unquote(self.subject.partition("/")[0])
        is_batch = self.type.startswith("batch.")
        about = _batch(self.fields) if is_batch else _job(self.fields)
        at = datetime.fromtimestamp(self.at / 1000, UTC)
        message = {
            "type": self.type,
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {"id": self.subject_id, "namespace": namespace, **about},
        }
        return json.dumps(message, separators=(",", ":")).encode()


def signature(secrets: tuple[Secret, ...], id: str, timestamp: int, body: bytes) -> str:
    """Sign a message with each secret that is valid at its time."""
    signed = f"{id}.{timestamp}.".encode() + body
    valid = [secret for secret in secrets if not secret.until or timestamp < secret.until]
    digests = (hmac.digest(key_of(secret.value), signed, hashlib.sha256) for secret in valid)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def _job(fields: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        name: fields.get(name, "")
        for name in ("state", "model", "voice", "media_type", "code", "message")
    }
    shown |= {name: int(fields.get(name, 0)) for name in _WHOLE_NUMBERS}
    if shown["state"] == "SUCCEEDED":
        shown |= {"code": "", "message": ""}  # those of an attempt that failed before
    return {
        **shown,
        "duration": int(fields.get("duration_ms", 0)) / 1000,
        "batch": unquote(fields["batch"]) if "batch" in fields else None,
        "usage": _usage(fields),
    }


def _batch(fields: Mapping[str, str]) -> dict[str, Any]:
    counts = {shown: int(fields.get(name, 0)) for name, shown in _COUNTS.items()}
    submitted = int(fields.get("submitted", 0))
    return {"state": fields["state"], "submitted": submitted, **counts, "usage": _usage(fields)}


def _usage(fields: Mapping[str, str]) -> dict[str, float]:
    prefix = "usage."
    return in_seconds(
        {
            name.removeprefix(prefix): int(v)
            for name, v in fields.items()
            if name.startswith(prefix)
        }
    )


def new_webhook(namespace: str, url: str, events: tuple[str, ...] = EVENTS) -> Webhook:
    """Make a webhook with an id and a secret of its own. Raises ValueError."""
    id = f"wh_{secrets.token_hex(4)}"
    return Webhook(namespace, id, check_url(url), (Secret(make_secret()),), events)


def webhook_of(namespace: str, setting: WebhookSetting) -> Webhook:
    """Make the webhook that a setting names; its id is always the same."""
    id = f"wh_{hashlib.sha256(setting.url.encode()).hexdigest()[:8]}"
    secret = (Secret(setting.secret.get_secret_value()),)
    return Webhook(namespace, id, setting.url, secret, setting.events, by_setting=True)
