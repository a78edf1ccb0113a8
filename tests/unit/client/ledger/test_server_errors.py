"""The table of refusals: what each reply of the server means, and what the error says."""

from __future__ import annotations

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser

from speechfleet.errors import FleetFull, FleetUnavailable, MisconfiguredError, SpeechFleetError
from speechfleet.ledger.server_errors import (
    REFUSALS,
    Remedy,
    address_of,
    errors,
    passes,
    refusal,
    translate,
)

REPLIES = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL",
    "UNKILLABLE": "UNKILLABLE Sorry the script already executed write commands",
    "MISCONF": "MISCONF Errors writing to the AOF file: No space left on device",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN": "CLUSTERDOWN Hash slot not served",
    "MAXCLIENTS": "ERR max number of clients reached",
    "READONLY": "READONLY You can't write against a read only replica.",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down",
    "UNBLOCKED": "UNBLOCKED force unblock from blocking operation, instance state changed",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "NOAUTH": "NOAUTH Authentication required.",
    "WRONGPASS": "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM": "NOPERM this user has no permissions to run the 'get' command",
    "DENIED": "DENIED Redis is running in protected mode because protected mode is enabled",
}
FROM_A_SCRIPT = (
    "ERR Error running script (call to f_12): @user_script:8: @user_script: 8: -{} refused"
)
ERROR_OF_REMEDY = {
    Remedy.WAIT: FleetUnavailable,
    Remedy.RECONNECT: FleetUnavailable,
    Remedy.MAKE_ROOM: FleetFull,
    Remedy.CONFIGURE: MisconfiguredError,
}


def from_reply(reply: str) -> Exception:
    """The exception that redis-py makes of an error reply."""
    error = BaseParser.parse_error(reply)  # type: ignore[no-untyped-call]  # redis-py
    assert isinstance(error, Exception)
    return error


def test_every_refusal_has_a_reply_here() -> None:
    assert REPLIES.keys() == REFUSALS.keys()


@pytest.mark.parametrize("code", REFUSALS)
def test_a_reply_is_recognized(code: str) -> None:
    error = from_reply(REPLIES[code])
    found = refusal(error)
    assert found is not None
    assert found.remedy is REFUSALS[code].remedy
    assert passes(error) is found.passes


@pytest.mark.parametrize("code", [code for code in REFUSALS if code != "MAXCLIENTS"])
def test_a_reply_from_within_a_script_is_recognized(code: str) -> None:
    assert refusal(from_reply(FROM_A_SCRIPT.format(code))) is REFUSALS[code]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_becomes_our_error_with_the_address(code: str) -> None:
    error = translate(from_reply(REPLIES[code]), "db.example:6379")
    assert type(error) is ERROR_OF_REMEDY[REFUSALS[code].remedy]
    assert "Redis at db.example:6379 does not serve" in str(error)
    assert isinstance(error, SpeechFleetError)
    assert error.retryable is (REFUSALS[code].remedy is not Remedy.CONFIGURE)


@pytest.mark.parametrize(
    "reply",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "BUSYGROUP Consumer Group name already exists",
        "NOSCRIPT No matching script. Please use EVAL.",
        "ERR the text READONLY is somewhere in it",
    ],
)
def test_a_mistake_of_ours_is_no_refusal(reply: str) -> None:
    error = from_reply(reply)
    assert refusal(error) is None
    assert not passes(error)
    assert translate(error) is error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (exceptions.ConnectionError("Connection closed by server."), "ConnectionError"),
        (exceptions.TimeoutError("Timeout reading from socket"), "no answer in time"),
        (TimeoutError(), "no answer in time"),
    ],
    ids=["refused", "closed", "redis-time-out", "time-out"],
)
def test_a_lost_connection_says_where_and_why(error: Exception, reason: str) -> None:
    with (
        pytest.raises(FleetUnavailable, match=f"Redis at db:1 cannot be reached \\({reason}\\)"),
        errors("db:1"),
    ):
        raise error


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:secret@db.example:6380/2", "db.example:6380"),
        ("redis://:secret@db.example", "db.example:6379"),
        ("redis://[::1]:6380/0", "[::1]:6380"),
        ("redis://[::1]/0", "[::1]:6379"),
        ("redis:///0", "localhost:6379"),
        ("rediss://:s%40cret@db:1", "db:1"),
        ("unix:///run/a%20b.sock?password=secret", "/run/a b.sock"),
        (
            "sentinel://:secret@a:1,b:2/fleet/0",
            "the primary of 'fleet' (Sentinel at a:1,b:2)",
        ),
    ],
)
def test_an_address_never_shows_the_password(url: str, address: str) -> None:
    assert address_of(url) == address
    assert "secret" not in address_of(url)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        ("ERR unknown command 'INFO', with args beginning with: ", "the command INFO"),
        ("ERR unknown command `info`, with args beginning with: ", "the command INFO"),
        ("ERR unknown command 'auth', with args beginning with: 'hush' ", "the command AUTH"),
        ("ERR Unknown Redis command called from script script: f_12", "a command of a script"),
    ],
    ids=["info", "before redis 7", "auth", "script"],
)
def test_a_server_that_lacks_a_command_is_named_with_it_and_no_secret(
    reply: str, named: str
) -> None:
    assert refusal(from_reply(reply)) is None
    assert not passes(from_reply(reply))
    error = translate(from_reply(reply), "cache:6379")
    assert isinstance(error, MisconfiguredError)
    assert f"Redis at cache:6379 does not know {named}" in error.message
    assert "SPEECHFLEET_REDIS_URL" in error.message
    assert "hush" not in error.message
