"""The settings of the gateway: a part of `Settings`, which alone reads the environment."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from speechfleet.strict_model import StrictModel


def split_list(value: Any) -> Any:
    """Split a setting that is a list: JSON, or words separated by commas. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    try:
        items = json.loads(value)
    except ValueError as error:
        raise ValueError(f"is no JSON list ({error}); commas do as well") from None
    if not all(isinstance(item, str) for item in items):
        raise ValueError("must be a list of strings, in JSON or separated by commas")
    return tuple(items)


class GatewaySettings(StrictModel, BaseSettings):
    """The settings of `speechfleet gateway`, as a part of `Settings`."""

    gateway_keys: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="namespace=sha256,... of API keys, see `speechfleet key`; none: loopback only",
    )
    gateway_keys_file: Path | None = Field(
        None,
        description="a file of API keys, a line each, which may expire; read anew when it changes",
    )
    gateway_stored_keys: bool = Field(
        False, description="ask for an API key, also where `speechfleet keys` alone has made some"
    )
    gateway_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins of other sites whose pages may use the gateway (CORS)"
    )
    gateway_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"),
        description="addresses or networks of proxies whose X-Forwarded-For names the client",
    )
    gateway_operators: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="namespaces whose keys see /metrics and the hosts in /fleet; none: all",
    )
    gateway_open_lists: bool = Field(
        False, description="list models and voices without a key, as Open WebUI asks for them"
    )
    gateway_aliases: dict[str, str] = Field(
        default_factory=dict,
        description='JSON: bare model name -> model; "local" is local/auto, others are OpenAI\'s',
    )
    gateway_voices: dict[str, str | dict[str, str]] = Field(
        default_factory=dict,
        description="JSON: voice of a client -> voice, or model -> such an object; names of "
        "OpenAI's voices stand for similar ones without it",
    )
    gateway_ignored: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "backend",
            "lang_code",
            "normalization_options",
            "return_download_link",
            "return_timing",
            "stream",
            "user",
            "volume_multiplier",
        ),
        description="fields of /v1/audio/speech that are accepted and ignored",
    )
    gateway_body: int = Field(2 << 20, gt=0, description="bytes of a request's body")
    gateway_file: int = Field(200 << 20, gt=0, description="bytes of an uploaded file")
    gateway_file_lifetime: float = Field(
        30 * 86400.0, ge=3600, description="seconds that an uploaded file is kept"
    )
    gateway_text: int = Field(100_000, gt=0, description="code points of a text over HTTP")
    gateway_streams: int = Field(100, gt=0, description="streams at once of an API key")
    gateway_patience: float = Field(
        120.0, gt=0, description="seconds that a request for speech waits for its first audio"
    )
    gateway_slow: float = Field(
        30.0, gt=0, description="seconds without taking a byte after which a listener is cut off"
    )
    gateway_socket_config: float = Field(
        10.0, gt=0, description="seconds in which a WebSocket for text must say what it wants"
    )
    gateway_socket_idle: float = Field(
        30.0,
        gt=0,
        description="seconds without a message after which a WebSocket is closed, "
        "unless it is being spoken to",
    )
    gateway_keep_alive: float = Field(
        75.0, gt=0, description="seconds that an idle connection is kept; more than a proxy's own"
    )
    gateway_connections: int = Field(2000, ge=1, description="open connections of a process")
    gateway_connections_per_address: int = Field(
        1000, ge=1, description="open connections of one client's (or proxy's) address"
    )
    gateway_cancel: bool = Field(
        True, description="cancel what only a listener that left had wanted"
    )
    gateway_redirect: bool = Field(
        False, description="answer stored audio by a redirect to a presigned URL (S3)"
    )

    @property
    def has_gateway_keys(self) -> bool:
        """Tell whether requests need an API key."""
        has_own = bool(self.gateway_keys) or self.gateway_keys_file is not None
        return has_own or self.gateway_stored_keys

    @field_validator("gateway_keys", mode="before")
    @classmethod
    def _gateway_keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.strip().rpartition("=") for pair in value.split(",") if pair.strip()]
        for namespace, _, digest in pairs:
            if not namespace or not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError("must be namespace=sha256, ... as `speechfleet key` prints them")
        return {digest: namespace for namespace, _, digest in pairs}

    @field_validator(
        "gateway_origins", "gateway_ignored", "gateway_operators", "gateway_proxies", mode="before"
    )
    @classmethod
    def _gateway_lists(cls, value: Any) -> Any:
        return split_list(value)

    @field_validator("gateway_origins")
    @classmethod
    def _gateway_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", origin):
                raise ValueError(f"{origin!r} is no origin such as https://app.example:8443")
        return origins
