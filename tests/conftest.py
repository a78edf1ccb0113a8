"""What tests share: a real server, stores, and an environment that is nobody's."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from speechfleet.embedded import EmbeddedValkey
from speechfleet.settings import Settings, settings
from speechfleet_worker.providers.built_in import BUILT_IN
from speechfleet_worker.providers.rehearsal import rehearse
from tests.support import moto_server

# No example has to be quick: a machine may do more than this.
hypothesis_settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
if not os.environ.get("CI"):  # it has a profile of its own, which is as patient
    hypothesis_settings.load_profile("patient")

_OURS = ("SPEECHFLEET_", "OPENAI_", "GOOGLE_", "GEMINI_", "DASHSCOPE_", "AWS_")
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/+%=-]{1,60}")
_ID_LENGTH = 40


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Make test ids of words, so that each process collects the same ones.

    Other bytes and texts become the ASCII words in them. Compressed bytes become their
    parameter's name: they hold the time of day.
    """
    if not isinstance(val, str | bytes) or (isinstance(val, str) and _PLAIN.fullmatch(val)):
        return None
    if isinstance(val, bytes) and not val.isascii():
        return argname
    text = val.decode() if isinstance(val, bytes) else val
    words = "-".join(re.findall(r"[A-Za-z0-9_]+", text))
    return words[:_ID_LENGTH].strip("-") or argname


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings or the keys of whoever runs it, nor those of another test."""
    for name in os.environ:
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def rehearsed() -> None:
    """Have the SDKs of providers imported, which is no part of the time of a call."""
    # In a thread: asyncio.run would take the loop of tests away from this one.
    rehearsing = threading.Thread(target=rehearse, args=(BUILT_IN, Settings()))
    rehearsing.start()
    rehearsing.join()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """One real server a test process. A machine without one fails: nothing is skipped."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """The URL of the server, running and empty."""
    if not valkey.running:
        valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    return valkey.url


@pytest.fixture
def folder_store_url(tmp_path: Path) -> str:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder.as_uri()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """One S3 server a test process."""
    with moto_server.moto_server() as url:
        yield url


@pytest.fixture
def s3_store_url(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and an environment in which it is found."""
    moto_server.reset(moto_url)
    for name, value in moto_server.environment(moto_url).items():
        monkeypatch.setenv(name, value)
    return f"s3://{moto_server.BUCKET}/fleet"
