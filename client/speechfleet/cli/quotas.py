"""The command ``quota``: shows and sets what a namespace may use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from speechfleet.batch.pricing import unit_prices
from speechfleet.cli import options, output
from speechfleet.cli.connect import on_fleet
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest
from speechfleet.quotas import EVERY_NAMESPACE, Quota, QuotaStatus

_NAMES = ", ".join(Quota.model_fields)


def quota(
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"Set a limit, or take it away by `none`: {_NAMES}. Repeatable.",
        ),
    ] = None,
    remove: Annotated[bool, options.flag("--remove", help="Take all limits away.")] = False,
    default: Annotated[
        bool, options.flag("--default", help="The limits of each namespace without its own.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show or set what the jobs of this namespace may use together.

    A job reserves what it asks for when it is submitted; what it was billed counts in the end.
    """
    if remove and limits:
        raise InvalidRequest("give --set or --remove, not both")

    async def work(client: AsyncClient) -> None:
        namespace = EVERY_NAMESPACE if default else client.namespace
        quotas = client.ledger.quotas
        if remove:
            await quotas.remove(namespace)
        elif limits:
            held = (await quotas.all()).get(namespace, Quota())
            prices = unit_prices(client.settings)
            await quotas.set(namespace, _changed(held, limits), prices)
        if default:
            _print_limits((await quotas.all()).get(namespace), as_json=as_json)
        else:
            print_quota(await quotas.status(namespace), as_json=as_json)

    on_fleet(work)


def _changed(held: Quota, changes: Iterable[str]) -> Quota:
    """Return the limits with some of them changed. Raises InvalidRequest."""
    values: dict[str, Any] = held.model_dump()
    for change in changes:
        name, _, value = change.partition("=")
        values[name] = None if value == "none" else value.replace(",", "").replace("_", "")
    try:
        return Quota.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"--set {name}: {first['msg']}; the limits are {_NAMES}") from None


def _print_limits(quota: Quota | None, *, as_json: bool) -> None:
    limits = quota.limits() if quota else {}
    if as_json:
        output.emit({"namespace": EVERY_NAMESPACE, "limits": limits})
    elif not limits:
        output.tell("namespaces without limits of their own have none.")
    for name, value in {} if as_json else limits.items():
        output.say(f"{name}: {value:,.12g}")


def print_quota(status: QuotaStatus | None, *, as_json: bool = False) -> None:
    """Print the limits of a namespace and what is taken of them."""
    if as_json:
        output.emit({"quota": quota_view(status)})
    elif status is None or not status.quota.limits():
        output.tell("this namespace has no quota.")
    else:
        output.table(
            ("limit", "value", "used", "reserved", "begins anew (UTC)"),
            [
                (row["limit"], *(f"{row[name]:,.12g}" for name in ("value", "used", "reserved")),
                 str(row["resets"] or "")[:16].replace("T", " "))
                for row in status.rows()
            ],
            rare=("begins anew (UTC)",),
        )  # fmt: skip


def quota_view(status: QuotaStatus | None) -> dict[str, Any] | None:
    """Describe a quota as JSON does; None where there is none."""
    if status is None:
        return None
    return {
        "namespace": status.namespace,
        "by_default": status.by_default,
        "limits": status.rows(),
    }
