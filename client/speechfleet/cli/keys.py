"""The commands ``keys make``, ``keys list`` and ``keys revoke``: API keys that Redis keeps."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from speechfleet.cli import options, output
from speechfleet.cli.connect import on_fleet
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest
from speechfleet.ledger.api_keys import READ, SCOPES, SPEAK, StoredKey

keys = typer.Typer(
    name="keys", help="API keys of this namespace for the gateway, kept in Redis by their hash.",
    no_args_is_help=True,
)  # fmt: skip
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")]
_DAYS = re.compile(r"([0-9]{1,5})d")


@keys.command()
def make(
    name: Name,
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help=f"{', '.join(SCOPES)}; repeatable. Default: {SPEAK} and {READ}.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="YYYY-MM-DD",
            help="Last day (UTC), or 30d for 30 days.",
            show_default=False,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make an API key for this namespace. It is shown once; Redis keeps only its hash."""
    from speechfleet.gateway.access import digest, make_key  # noqa: PLC0415 # a program of its own

    chosen = tuple(dict.fromkeys(scopes or (SPEAK, READ)))
    if wrong := set(chosen) - set(SCOPES):
        raise InvalidRequest(f"--scope {min(wrong)}: the scopes are {', '.join(SCOPES)}")
    made, end = make_key(), _end_of(expires)

    async def work(client: AsyncClient) -> None:
        held = client.ledger.api_keys
        if any(key.name == name for key in await held.list(client.namespace)):
            raise InvalidRequest(
                f"namespace {client.namespace!r} has a key {name!r}: revoke it first, or take "
                "another name"
            )
        key = StoredKey(digest(made), client.namespace, name, chosen, time.time(), end)
        await held.add(key)
        if as_json:
            output.emit({"key": made, **asdict(key)})
            return
        output.say(made)
        output.tell(
            f"It opens the namespace {client.namespace!r} at gateways that ask for keys "
            "(SPEECHFLEET_GATEWAY_STORED_KEYS=true)."
        )

    on_fleet(work)


@keys.command("list")
def list_(as_json: options.AsJson = False) -> None:
    """List the keys of this namespace; nobody can show them again."""

    async def work(client: AsyncClient) -> None:
        found = await client.ledger.api_keys.list(client.namespace)
        if as_json:
            output.emit({"keys": [asdict(key) for key in found]})
            return
        output.table(
            ("name", "scopes", "hash", "made (UTC)", "expires (UTC)"),
            [
                (
                    key.name, " ".join(key.scopes), key.digest[:8], output.moment(key.created),
                    "" if key.expires is None else output.moment(key.expires),
                )
                for key in found
            ],
            rare=("made (UTC)", "hash"),
            nothing="this namespace has no keys: `speechfleet keys make NAME` makes one",
        )  # fmt: skip

    on_fleet(work)


@keys.command()
def revoke(name: Name, as_json: options.AsJson = False) -> None:
    """Revoke a key: within a second no gateway takes it any more, nor the logins made with it."""

    async def work(client: AsyncClient) -> None:
        count = await client.ledger.api_keys.revoke(client.namespace, name)
        if not count:
            raise InvalidRequest(
                f"namespace {client.namespace!r} has no key {name!r}, see `speechfleet keys list`"
            )
        output.emit({"revoked": name}) if as_json else output.say(f"{name}: revoked")

    on_fleet(work)


def _end_of(expires: str | None) -> float | None:
    """Return the moment from which a key is worth nothing. Raises InvalidRequest."""
    if expires is None:
        return None
    end = _moment(expires)
    if end <= time.time():
        raise InvalidRequest(f"--expires {expires!r} is past: the key would open nothing")
    return end


def _moment(expires: str) -> float:
    """Return the moment that a day, or a number of days from now, ends."""
    if days := _DAYS.fullmatch(expires):
        return time.time() + int(days[1]) * 86_400
    try:
        day = datetime.strptime(expires, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRequest(
            f"--expires {expires!r}: it is a day such as 2027-01-31, or 30d"
        ) from None
    return (day + timedelta(days=1)).timestamp()
