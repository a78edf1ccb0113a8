"""Receivers of webhooks as a setting names them: their URLs, their secrets, their events."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import ConfigDict, SecretStr, field_validator

from speechfleet.strict_model import StrictModel

EventType = Literal["job.succeeded", "job.failed", "job.cancelled", "batch.ended"]
EVENTS: tuple[EventType, ...] = get_args(EventType)
SECRET_PREFIX = "whsec_"  # noqa: S105 # what a secret begins with
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


def make_secret() -> str:
    """Make the secret of a webhook."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(
            f"a secret is {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in "
            "base64; `speechfleet webhooks add` makes one"
        )
    return key


def check_url(url: str) -> str:
    """Return the URL of a receiver. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("a receiver is https://host/path")
    if parts.username or parts.password:
        raise ValueError("a receiver's URL holds no user or password: messages are signed instead")
    _ = parts.port  # raises ValueError where it is no number
    return url


class WebhookSetting(StrictModel):
    """A receiver, as the setting SPEECHFLEET_WEBHOOKS names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    secret: SecretStr
    events: tuple[EventType, ...] = EVENTS

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return check_url(url)

    @field_validator("secret")
    @classmethod
    def _secret(cls, secret: SecretStr) -> SecretStr:
        key_of(secret.get_secret_value())
        return secret
