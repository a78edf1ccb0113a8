"""The settings: this module alone reads the variables ``SPEECHFLEET_*``.

Provider keys are not here: each SDK's own variable is read by the adapter, in the worker's
environment only.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict, SettingsError

from speechfleet.audio.media_type import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from speechfleet.errors import MisconfiguredError
from speechfleet.fallback_settings import FallbackSettings
from speechfleet.gateway_settings import GatewaySettings, split_list
from speechfleet.speakable import SpeakableMode
from speechfleet.strict_model import StrictModel
from speechfleet.tenant_settings import TenantSettings

PREFIX = "SPEECHFLEET_"
DEFAULT_MODEL = "local/auto"
"""It needs no key: English is spoken by hibari, every other language by espeak-ng."""


class Endpoint(StrictModel):
    """A further server that speaks a provider's protocol, with a name of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str = Field("openai", description="whose protocol it speaks")
    base_url: str
    key_env: str | None = Field(None, description="the variable that holds its key; None: no key")
    sample_rate: int | None = Field(
        None,
        ge=MIN_SAMPLE_RATE,
        le=MAX_SAMPLE_RATE,
        description="of its raw PCM, where not 24000",
    )
    limits: dict[str, int] = Field(default_factory=dict, description="e.g. input, slots")
    request_fields: dict[str, JsonValue] = Field(
        default_factory=dict, description="further fields of every request, as the server has them"
    )


class Limits(StrictModel):
    """The rate limits of one model, for all workers together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int = Field(0, ge=0, description="a minute; 0: unknown")
    units: int = Field(0, ge=0, description="characters or tokens a minute, as the model counts")
    concurrent: int = Field(0, ge=0, description="calls at once")


UNLIMITED = Limits()


class Price(StrictModel):
    """The price of a model; cost estimates and spending limits use it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_million: float = Field(ge=0, description="money for a million units")
    unit: Literal["characters", "bytes", "tokens", "minutes"] = "characters"
    currency: str = "USD"
    date: str = Field("", description="when it was looked up")
    source: str = Field("", description="where")


class Timeouts(StrictModel):
    """The four time-outs of a provider call, in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: float = Field(10.0, gt=0)
    first_audio: float = Field(30.0, gt=0)
    silence: float = Field(20.0, gt=0, description="between two chunks")
    call: float = Field(300.0, gt=0, description="the whole call")


class Settings(FallbackSettings, GatewaySettings, TenantSettings):
    """Hold all settings; the variables are ``SPEECHFLEET_`` and the field name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,  # docker compose passes what is not set as ""
        frozen=True,
        extra="ignore",
    )

    redis_url: SecretStr | None = Field(
        None,
        description="redis://, rediss:// (TLS), unix://, sentinel://host:port/service/db or "
        "sentinels:// (TLS)",
    )
    redis_tls_ca: Path | None = Field(
        None, description="file of the CAs that sign Redis' certificate; else the system's"
    )
    redis_tls_cert: Path | None = Field(
        None, description="file of the certificate to show to Redis, where it demands one"
    )
    redis_tls_key: Path | None = Field(None, description="file of that certificate's key")
    redis_connect_timeout: float = Field(5.0, gt=0, description="seconds to connect to Redis")
    redis_timeout: float = Field(
        30.0,
        gt=0,
        description="seconds to wait for a reply while Redis answers no other command either; "
        "then reconnect",
    )
    redis_patience: float = Field(
        60.0, ge=0, description="seconds that workers, listeners and sessions wait for Redis"
    )
    accept_replicas: int = Field(
        0,
        ge=0,
        description="replicas of Redis that must have a job, the end of a session's text, or a "
        "deletion before the call returns; 0: none",
    )
    store: str | None = Field(None, description="s3://bucket/prefix or file:///folder")
    namespace: str = Field("default", description="separates tenants; part of every key")
    default_model: str = Field(DEFAULT_MODEL, description="the model of a request that names none")

    speakable: SpeakableMode = Field(
        "off", description="what of a text is markup and not spoken: auto, markdown, plain, off"
    )
    lexicon: Path | None = Field(
        None, description="file of words that are spoken otherwise than they are written"
    )

    max_text: int = Field(5_000_000, gt=0, description="code points a job")
    max_attempts: int = Field(
        5, ge=1, description="provider attempts without a new segment before a job fails"
    )
    backoff: float = Field(0.5, gt=0, description="seconds before the first retry; doubles")
    backoff_max: float = Field(60.0, gt=0, description="seconds")
    retry_after_max: float = Field(
        600.0, gt=0, description="seconds that a provider's Retry-After may pause a model"
    )
    record_ttl: float = Field(7 * 86400.0, gt=0, description="seconds a finished job is listed")
    stream_ttl: float = Field(60.0, gt=0, description="seconds a stream outlives its end")
    stream_window: int = Field(32 << 20, gt=0, description="bytes of a long job's audio in Redis")
    stream_bytes: int = Field(512 << 20, gt=0, description="bytes of audio in Redis, all jobs")
    stream_patience: float = Field(
        60.0, ge=0, description="seconds that a job waits for room in the chunk streams"
    )

    batch_window: int = Field(2000, ge=1, description="items of a batch under way at once")

    slots: int = Field(100, ge=1, description="jobs a worker process speaks at once")
    provider_slots: dict[str, int] = Field(
        default_factory=dict, description='JSON, e.g. {"openai": 20}; else all slots'
    )
    limits: dict[str, Limits] = Field(
        default_factory=dict,
        description="JSON: provider or provider/model -> requests, units, ...",
    )
    prices: dict[str, Price] = Field(
        default_factory=dict, description="JSON: provider or provider/model -> per_million, unit"
    )
    look_ahead: int = Field(3, ge=0, description="segments of a job spoken ahead of the stream")
    grace: float = Field(20.0, ge=0, description="seconds that SIGTERM leaves to running jobs")
    store_patience: float = Field(
        600.0, ge=0, description="seconds that a job holds its audio while the store refuses"
    )
    timeouts: Timeouts = Timeouts.model_construct(
        connect=10.0, first_audio=30.0, silence=20.0, call=300.0
    )

    sessions: int = Field(200, ge=1, description="realtime sessions a worker process holds")
    session_text: int = Field(100_000, gt=0, description="code points of a session")
    session_vanished: float = Field(
        30.0, gt=0, description="seconds without a sign of its client that end a session"
    )
    session_idle: float = Field(
        300.0, gt=0, description="seconds without new text that end a session"
    )
    session_pause: float = Field(
        0.8,
        gt=0,
        description="seconds without new text after which an unfinished sentence is spoken",
    )
    session_silence: float = Field(
        3.0,
        gt=0,
        description="seconds without audio in mid-sentence after which a session speaks that "
        "sentence anew; instead of `silence` in SPEECHFLEET_TIMEOUTS, where that is longer",
    )
    session_cold_start: tuple[int, int] = Field(
        (0, 0), description="JSON: code points and words before a session begins to speak"
    )

    providers: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="name=package.module:Class,... : your own"
    )
    middleware: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="package.module:Class,... : your own code around jobs; the module must be "
        "on the workers' PYTHONPATH",
    )
    hibari_voices: dict[str, Path] = Field(
        default_factory=dict,
        description="JSON: name -> ONNX file of a further voice for hibari, on each worker",
    )
    endpoints: dict[str, Endpoint] = Field(
        default_factory=dict, description="JSON: name -> adapter, base_url, key_env, ..."
    )
    result_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*.aliyuncs.com",), description="hosts that result URLs are fetched from"
    )
    result_bytes: int = Field(256 << 20, gt=0, description="size limit of a fetched result")

    log_format: Literal["text", "json"] = Field("text", description="of workers and gateways")

    traces: bool = Field(False, description="OpenTelemetry; where to, say the OTEL_* variables")

    @field_validator("providers", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        for name, _, target in pairs:
            if not name.strip() or ":" not in target:
                raise ValueError("must be name=package.module:Class, separated by commas")
        return {name.strip(): target.strip() for name, _, target in pairs}

    @field_validator("result_hosts", "middleware", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return split_list(value)

    def limits_of(self, model: str) -> Limits:
        """Return the limits of a model, else those of its provider, else none."""
        provider = model.partition("/")[0]
        return self.limits.get(model) or self.limits.get(provider) or UNLIMITED

    @property
    def required_store(self) -> str:
        """The URL of the store. Raises MisconfiguredError where none is set."""
        if self.store is None:
            raise MisconfiguredError(
                "no object store is set: give SPEECHFLEET_STORE, s3://bucket/prefix or "
                "file:///folder, the same for workers and clients"
            )
        return self.store

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the environment. Raises MisconfiguredError, which names the wrong variable."""
        try:
            return cls(**{name: v for name, v in overrides.items() if v is not None})
        except ValidationError as error:
            first = error.errors()[0]
            field, *path = map(str, first["loc"])
            inside = f", at {'.'.join(path)}" if path else ""
            raise MisconfiguredError(f"{_variable(field)}{inside}: {first['msg']}") from None
        except SettingsError as error:  # a value that is to be JSON and is not
            raise MisconfiguredError(_parse_failure(error)) from None


def set_namespace(namespace: str) -> None:
    """Set the namespace of this process and of those that it starts."""
    os.environ[_variable("namespace")] = namespace


def unknown_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Find variables that begin as settings do and are none, each with the nearest setting.

    The nearest is "" where none is near.
    """
    known = [_variable(field) for field in Settings.model_fields]
    found = {}
    for name in sorted(os.environ if environ is None else environ):
        setting = name.upper().partition("__")[0]
        if setting.startswith(PREFIX) and setting not in known:
            near = get_close_matches(setting, known, n=1, cutoff=0.8)
            found[name] = near[0] if near else ""
    return found


def _variable(field: str) -> str:
    return f"{PREFIX}{field.upper()}"


def _parse_failure(error: SettingsError) -> str:
    """Name the variable, and the place in its value where the JSON is wrong."""
    quoted = re.search(r'field "(\w+)"', str(error))
    name = _variable(quoted[1]) if quoted else f"a {PREFIX} variable"
    if isinstance(cause := error.__cause__, json.JSONDecodeError):
        at = f"position {cause.pos}" if cause.lineno == 1 else f"line {cause.lineno}"
        return f"{name} is not JSON: {cause.msg} at {at}, near {cause.doc[cause.pos :][:20]!r}"
    return f"{name} does not parse"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of the process, which are read once."""
    return Settings.load()
