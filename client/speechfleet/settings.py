"""Everything a user can set, read from the environment in this one place.

Provider keys are not here: each SDK's own variable is read by the adapter, in the worker's
environment only.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from speechfleet.errors import MisconfiguredError


class Endpoint(BaseModel):
    """One more server that speaks a provider's protocol, under a name of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str = Field("openai", description="whose protocol it speaks")
    base_url: str
    key_env: str | None = Field(None, description="the variable that holds its key; None: no key")
    sample_rate: int | None = Field(None, gt=0, description="of its raw PCM, where not 24000")
    limits: dict[str, int] = Field(default_factory=dict, description="e.g. input, slots")


class Limits(BaseModel):
    """What all workers together may ask of one model of a provider's account."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int = Field(0, ge=0, description="a minute; 0: unknown")
    units: int = Field(0, ge=0, description="characters or tokens a minute, as the model counts")
    concurrent: int = Field(0, ge=0, description="calls at once")


UNLIMITED = Limits()


class Price(BaseModel):
    """What a model's provider asks for speech; estimates and limits of cost go by it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_million: float = Field(ge=0, description="money for a million units")
    unit: Literal["characters", "bytes", "tokens", "minutes"] = "characters"
    currency: str = "USD"
    date: str = Field("", description="when it was looked up")
    source: str = Field("", description="where")


class Timeouts(BaseModel):
    """The four time-outs of a provider call, in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: float = Field(10.0, gt=0)
    first_audio: float = Field(30.0, gt=0)
    silence: float = Field(20.0, gt=0, description="between two chunks")
    call: float = Field(300.0, gt=0, description="the whole call")


class Settings(BaseSettings):
    """Environment variables are the field names in capitals behind ``SPEECHFLEET_``."""

    model_config = SettingsConfigDict(
        env_prefix="SPEECHFLEET_", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss://, unix:// or sentinel://host:port/service/db"
    )
    store: str | None = Field(None, description="s3://bucket/prefix or file:///folder")
    namespace: str = Field("default", description="separates tenants; part of every key")

    max_text: int = Field(5_000_000, gt=0, description="code points a job")
    max_attempts: int = Field(5, ge=1, description="provider attempts before a job fails")
    backoff: float = Field(0.5, gt=0, description="seconds before the first retry; doubles")
    backoff_max: float = Field(60.0, gt=0, description="seconds")
    record_ttl: float = Field(7 * 86400.0, gt=0, description="seconds a finished job is listed")
    stream_ttl: float = Field(60.0, gt=0, description="seconds a stream outlives its end")
    stream_window: int = Field(32 << 20, gt=0, description="bytes of a long job's audio in Redis")
    stream_bytes: int = Field(512 << 20, gt=0, description="bytes of audio in Redis, all jobs")

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
        description="seconds without new text after which what there is is said",
    )
    session_cold_start: tuple[int, int] = Field(
        (0, 0), description="JSON: code points and words before a session begins to speak"
    )

    providers: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="name=package.module:Class,... : your own"
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

    gateway_keys: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="namespace=sha256,... of API keys, see `speechfleet key`; none: loopback only",
    )
    gateway_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins of other sites whose pages may use the gateway (CORS)"
    )
    gateway_aliases: dict[str, str] = Field(
        default_factory=dict, description='JSON: bare model name -> model; else "openai/" + name'
    )
    gateway_body: int = Field(2 << 20, gt=0, description="bytes of a request's body")
    gateway_text: int = Field(100_000, gt=0, description="code points of a text over HTTP")
    gateway_streams: int = Field(100, gt=0, description="streams at once of an API key")
    gateway_patience: float = Field(
        120.0, gt=0, description="seconds that a request for speech waits for its first audio"
    )
    gateway_slow: float = Field(
        30.0, gt=0, description="seconds without taking a byte after which a listener is cut off"
    )
    gateway_cancel: bool = Field(
        True, description="cancel what only a listener that left had wanted"
    )
    gateway_redirect: bool = Field(
        False, description="answer stored audio by a redirect to a presigned URL (S3)"
    )

    @field_validator("gateway_keys", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.strip().rpartition("=") for pair in value.split(",") if pair.strip()]
        for namespace, _, digest in pairs:
            if not namespace or not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError("must be namespace=sha256, ... as `speechfleet key` prints them")
        return {digest: namespace for namespace, _, digest in pairs}

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

    @field_validator("result_hosts", "gateway_origins", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    def limits_of(self, model: str) -> Limits:
        """Those of the model, else its provider's for each of its models, else unknown."""
        provider = model.partition("/")[0]
        return self.limits.get(model) or self.limits.get(provider) or UNLIMITED

    @property
    def required_store(self) -> str:
        """The store's URL; MisconfiguredError where none is set."""
        if self.store is None:
            raise MisconfiguredError(
                "no object store is set: give SPEECHFLEET_STORE, s3://bucket/prefix or "
                "file:///folder, the same for workers and clients"
            )
        return self.store

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """From the environment; a wrong value is a MisconfiguredError that names it."""
        try:
            return cls(**{name: v for name, v in overrides.items() if v is not None})
        except ValidationError as error:
            first = error.errors()[0]
            where = "__".join(str(part) for part in first["loc"]).upper()
            message = f"SPEECHFLEET_{where}: {first['msg']}"
            raise MisconfiguredError(message) from None
        except ValueError as error:  # pydantic-settings: a JSON value that does not parse
            raise MisconfiguredError(f"a SPEECHFLEET_ variable does not parse: {error}") from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings.load()
