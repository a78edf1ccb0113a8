"""API keys: what they open, and how the setting holds them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from speechfleet import errors
from speechfleet.gateway import access
from speechfleet.gateway.access import KeyFile, Keyring, digest, make_key
from speechfleet.ledger.api_keys import SCOPES
from speechfleet.settings import Settings


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


def day(offset: int) -> str:
    at = datetime.fromtimestamp(time.time(), UTC) + timedelta(days=offset)
    return at.strftime("%Y-%m-%d")


def test_keys_in_a_file_have_a_scope_and_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = datetime.now(UTC).replace(hour=12).timestamp()
    monkeypatch.setattr(time, "time", lambda: noon)  # no midnight comes
    lines = {
        "plain": f"a={'1' * 64}",
        "metrics": f"b={'2' * 64} scope=metrics expires={day(0)}",
        "several": f"d={'4' * 64} scope=speak,read",
        "over": f"c={'3' * 64} expires={day(-1)}",
    }
    path = tmp_path / "keys"
    path.write_text("# ours\n\n" + "\n".join(lines.values()))
    keyring = Keyring({"0" * 64: "setting"}, "default", KeyFile(path))
    callers = [keyring.caller_of_digest(str(number) * 64) for number in range(5)]
    assert [caller and (caller.namespace, sorted(caller.scopes)) for caller in callers] == [
        ("setting", sorted(SCOPES)), ("a", sorted(SCOPES)), ("b", ["metrics"]), None,
        ("d", ["read", "speak"]),
    ]  # fmt: skip


def test_a_file_of_keys_is_read_anew_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access, "RELOAD_INTERVAL_S", 0.0)
    path = tmp_path / "keys"
    path.write_text(f"a={'1' * 64}")
    file = KeyFile(path)
    assert file.get("1" * 64)
    path.write_text(f"b={'2' * 64} expires=2999-01-01")
    assert file.get("1" * 64) is None
    assert file.get("2" * 64)
    path.write_text("half a line, while somebody writes")
    assert file.get("2" * 64), "the keys of before stay valid"
    assert "line 1" in caplog.text


@pytest.mark.parametrize(
    "line",
    ["a=sf-a-key-itself", "a", f"a={'1' * 64} scope=none", f"a={'1' * 64} expires=soon",
     f"a={'1' * 64} owner=me"],
    ids=["key", "word", "scope", "date", "attribute"],
)  # fmt: skip
def test_a_wrong_line_is_named_and_not_quoted(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# comment\n{line}\n")
    with pytest.raises(errors.MisconfiguredError, match="line 2") as caught:
        KeyFile(path)
    assert "itself" not in caught.value.message


def test_an_empty_file_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch()
    keyring = Keyring({}, "default", KeyFile(path))
    assert keyring.required
    assert keyring.caller(None) is None
    with pytest.raises(errors.MisconfiguredError, match="KEYS_FILE"):
        KeyFile(tmp_path / "missing")
