"""What the gateway decides without a fleet: keys, hosts, ranges, errors, log lines."""

from __future__ import annotations

import json
import logging

import pytest
from fastapi import Request

from speechfleet import errors, logs
from speechfleet.errors import InvalidRequest, JobFailed, SpeechFleetError
from speechfleet.gateway import failures
from speechfleet.gateway.access import Keyring, digest, make_key
from speechfleet.gateway.audio import Range
from speechfleet.gateway.failures import (
    GatewayError,
    RangeRefused,
    TooManyStreams,
    error_body,
    status_of,
)
from speechfleet.gateway.limits import Streams
from speechfleet.gateway.orders import resolve
from speechfleet.gateway.security import is_loopback
from speechfleet.settings import Settings


def kinds(root: type[SpeechFleetError]) -> set[type[SpeechFleetError]]:
    return {root}.union(*(kinds(below) for below in root.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(kinds(SpeechFleetError), key=str))
def test_every_error_has_a_status(kind: type[SpeechFleetError]) -> None:
    error = kind.__new__(kind)  # without what some ask for beside a message
    Exception.__init__(error, "what happened")
    status = status_of(error)
    assert 400 <= status < 600
    if issubclass(kind, InvalidRequest):
        assert status < 500
    told = error_body(error)["error"]
    assert told["code"] == kind.code
    assert (told["type"] == "server_error") == (status >= 500)
    if not issubclass(kind, GatewayError):
        job = JobFailed("it failed of that", code=kind.code)
        assert (status_of(job) < 500) == (status < 500), "a job's failure is known by its code"


def test_statuses_are_of_codes_that_exist() -> None:
    assert failures.STATUS.keys() <= {kind.code for kind in kinds(errors.SpeechFleetError)}


def test_a_key_opens_its_namespace_and_is_kept_as_a_hash() -> None:
    key, other = make_key(), make_key()
    keyring = Keyring({digest(key): "tenant"}, "default")
    caller = keyring.caller(key)
    assert caller is not None
    assert caller.namespace == "tenant"
    assert key not in repr(caller)
    assert keyring.caller(other) is keyring.caller(None) is keyring.caller("\ud800") is None
    assert len(key) > 40


def test_without_keys_everybody_is_of_the_default_namespace() -> None:
    caller = Keyring({}, "default").caller(None)
    assert caller is not None
    assert caller.namespace == "default"


def test_keys_in_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_GATEWAY_KEYS", f"a={'0' * 64}, b=c={'1' * 64}")
    assert Settings.load().gateway_keys == {"0" * 64: "a", "1" * 64: "b=c"}
    monkeypatch.setenv("SPEECHFLEET_GATEWAY_KEYS", "a=sf-a-key-itself")
    with pytest.raises(errors.MisconfiguredError, match="speechfleet key") as caught:
        Settings.load()
    assert "itself" not in caught.value.message


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True),
        ("::1", True), ("a.localhost", True), ("", False), ("::", False), ("192.168.0.1", False),
        ("localhost.evil.example", False), ("10.0.0.1", False), ("evil.example", False),
    ],
)  # fmt: skip
def test_what_is_this_machine(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("asked", "start", "end", "partial"),
    [
        ("", 0, 1000, False),
        ("bytes=0-", 0, 1000, True),
        ("bytes=0-0", 0, 1, True),
        ("bytes=10-5000", 10, 1000, True),
        ("bytes=-1", 999, 1000, True),
        ("bytes=-5000", 0, 1000, True),
        ("bytes=0-1,5-6", 0, 1000, False),
        ("bytes=-", 0, 1000, False),
        ("bites=0-1", 0, 1000, False),
    ],
)
def test_ranges(asked: str, start: int, end: int, partial: bool) -> None:
    wanted = Range.of(request(range=asked), 1000, '"a"')
    assert (wanted.start, wanted.end, wanted.partial) == (start, end, partial)
    assert wanted.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5-4", "bytes=-0"])
def test_ranges_of_nothing(asked: str) -> None:
    with pytest.raises(RangeRefused):
        Range.of(request(range=asked), 1000, '"a"')


def test_a_range_of_another_version_is_the_whole() -> None:
    assert not Range.of(request(range="bytes=1-2", if_range='"b"'), 1000, '"a"').partial
    assert Range.of(request(range="bytes=1-2", if_range='"a"'), 1000, '"a"').partial


def test_streams_are_given_back_also_after_an_error() -> None:
    streams = Streams(1)
    with pytest.raises(TooManyStreams), streams.one("a"), streams.one("b"), streams.one("a"):
        pass
    assert streams.total == 0


def test_bare_names() -> None:
    aliases = {"tts-1": "kokoro/kokoro"}
    assert resolve("tts-1", aliases) == "kokoro/kokoro"
    assert resolve("tts-1-hd", aliases) == "openai/tts-1-hd"
    assert resolve("a/b/c", aliases) == "a/b/c"


def test_log_lines_carry_their_job(capsys: pytest.CaptureFixture[str]) -> None:
    kept = logging.getLogger().handlers[:], logging.getLogger().level
    token = logs.job.set("default/greeting")
    try:
        logs.to_stderr("INFO", "json")
        logging.getLogger("somebody.else").info("a line\nof %d", 2)
        logging.getLogger("ours").warning("of another", extra={"job": "default/other"})
    finally:
        logs.job.reset(token)
        logging.getLogger().handlers[:] = kept[0]
        logging.getLogger().setLevel(kept[1])
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["job"], first["message"]) == ("default/greeting", "a line\nof 2")
    assert (second["job"], second["level"]) == ("default/other", "WARNING")
