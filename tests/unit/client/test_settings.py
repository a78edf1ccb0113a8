"""Settings from the environment, and what is said of those that are wrong."""

from __future__ import annotations

import json

import pytest

from speechfleet.errors import MisconfiguredError
from speechfleet.quotas import Quota
from speechfleet.settings import Settings, unknown_variables
from speechfleet.webhook_settings import make_secret


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MAX_TEXT", "many", r"^SPEECHFLEET_MAX_TEXT: Input should be a valid integer"),
        ("SLOTS", "0", r"^SPEECHFLEET_SLOTS: .* greater than or equal to 1"),
        ("ENDPOINTS", '{"kokoro": ', r"^SPEECHFLEET_ENDPOINTS is not JSON: .* at position 11"),
        ("ENDPOINTS", '{"kokoro": {}}', r"^SPEECHFLEET_ENDPOINTS, at kokoro.base_url: Field"),
        ("LIMITS", "{'openai': 1}", r"^SPEECHFLEET_LIMITS is not JSON: .* near \"'openai': 1}\""),
        ("LIMITS", '{"openai": {"request": 5}}', r"^SPEECHFLEET_LIMITS, at openai.request: Extra"),
        ("PRICES", "[1]", r"^SPEECHFLEET_PRICES: Input should be a valid dictionary"),
        ("TIMEOUTS__CONNECT", "-1", r"^SPEECHFLEET_TIMEOUTS, at connect: Input should be greater"),
        ("GATEWAY_KEYS", "a=b", r"^SPEECHFLEET_GATEWAY_KEYS: .*as `speechfleet key` prints"),
        ("GATEWAY_ORIGINS", '["http://a', r"^SPEECHFLEET_GATEWAY_ORIGINS: .*is no JSON list"),
        ("GATEWAY_ORIGINS", "[1]", r"^SPEECHFLEET_GATEWAY_ORIGINS: .*a list of strings"),
    ],
)
def test_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"SPEECHFLEET_{name}", value)
    with pytest.raises(MisconfiguredError, match=said):
        Settings.load()


@pytest.mark.parametrize("value", ["http://a,http://b", '["http://a", "http://b"]'])
def test_lists_are_json_or_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SPEECHFLEET_GATEWAY_ORIGINS", value)
    assert Settings.load().gateway_origins == ("http://a", "http://b")


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "STORE", "SLOTS", "ENDPOINTS", "GATEWAY_KEYS"):
        monkeypatch.setenv(f"SPEECHFLEET_{name}", "")
    assert Settings.load() == Settings()
    assert Settings.load().redis_url is None


def test_variables_that_are_no_setting_are_found_with_the_nearest() -> None:
    environ = {
        "SPEECHFLEET_REDISURL": "redis://",
        "SPEECHFLEET_GATEWAY_KEY": "x",
        "SPEECHFLEET_XYZZY": "1",
        "SPEECHFLEET_TIMEOUTS__CONNECT": "3",
        "SPEECHFLEET_STORE": "file:///x",
        "speechfleet_slots": "3",
        "HOME": "/",
    }
    assert unknown_variables(environ) == {
        "SPEECHFLEET_GATEWAY_KEY": "SPEECHFLEET_GATEWAY_KEYS",
        "SPEECHFLEET_REDISURL": "SPEECHFLEET_REDIS_URL",
        "SPEECHFLEET_XYZZY": "",
    }


def test_webhooks_and_quotas_are_json_whose_secrets_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = make_secret()
    hook = {"url": "https://example.org/x", "secret": secret, "events": ["batch.ended"]}
    monkeypatch.setenv("SPEECHFLEET_WEBHOOKS", json.dumps({"acme": [hook]}))
    monkeypatch.setenv("SPEECHFLEET_QUOTAS", '{"acme": {"streams": 2}, "*": {"money_day": 0.5}}')
    monkeypatch.setenv("SPEECHFLEET_WEBHOOK_NETWORKS", "10.0.0.0/8, 127.0.0.1")
    settings = Settings.load()
    assert settings.quotas == {"acme": Quota(streams=2), "*": Quota(money_day=0.5)}
    assert settings.webhook_networks == ("10.0.0.0/8", "127.0.0.1")
    assert secret not in repr(settings)
    for wrong in ({"url": "ftp://x"}, {"secret": "whsec_dG9vIHNob3J0"}, {"events": ["job.begun"]}):
        monkeypatch.setenv("SPEECHFLEET_WEBHOOKS", json.dumps({"acme": [{**hook, **wrong}]}))
        with pytest.raises(MisconfiguredError, match="SPEECHFLEET_WEBHOOKS"):
            Settings.load()
