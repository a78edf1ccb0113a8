"""The commands ``webhooks ...``: who is told how this namespace's jobs and batches ended."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.cli.connect import on_fleet
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest
from speechfleet.ledger.webhooks import DeadLetter, WebhookStatus
from speechfleet.webhook_settings import EVENTS, make_secret
from speechfleet.webhooks import Secret, Webhook, new_webhook

webhooks = typer.Typer(
    name="webhooks", help="Receivers that are told how jobs and batches of this namespace ended.",
    no_args_is_help=True,
)  # fmt: skip
HookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, see `list`.")]
Count = Annotated[int, typer.Option(min=1, help="At most so many, the newest.")]


@webhooks.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://host/path of the receiver.")],
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event", help=f"{', '.join(EVENTS)}; repeatable. Default: all.", show_default=False
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Add a receiver, and print the secret that its messages are signed with."""
    chosen = tuple(dict.fromkeys(events or EVENTS))
    if wrong := set(chosen) - set(EVENTS):
        raise InvalidRequest(f"--event {min(wrong)}: the events are {', '.join(EVENTS)}")

    async def work(client: AsyncClient) -> None:
        try:
            hook = new_webhook(client.namespace, url, chosen)
        except ValueError as error:
            raise InvalidRequest(f"{url!r}: {error}") from None
        await client.ledger.webhooks.put(hook)
        _print_secret(hook, as_json=as_json)

    on_fleet(work)


@webhooks.command("list")
def list_(as_json: options.AsJson = False) -> None:
    """List the receivers: events sent, tries that failed, what waits, dead letters."""

    async def work(client: AsyncClient) -> None:
        found = await client.ledger.webhooks.statuses(client.namespace)
        if as_json:
            output.emit({"webhooks": [_status_view(each) for each in found]})
            return
        output.table(
            ("id", "url", "events", "sent", "failed", "waiting", "oldest", "dead", "disabled"),
            [
                (
                    each.hook.id, each.hook.url, " ".join(each.hook.events), f"{each.sent:,}",
                    f"{each.failed:,}", f"{each.waiting:,}",
                    f"{each.oldest:,.0f} s" if each.waiting else "", f"{each.dead:,}",
                    each.hook.disabled,
                )
                for each in found
            ],
            rare=("events",),
            nothing="this namespace has no webhooks: `speechfleet webhooks add URL` adds one",
        )  # fmt: skip

    on_fleet(work)


@webhooks.command()
def remove(id: HookId, as_json: options.AsJson = False) -> None:
    """Remove a receiver, with all that waits for it."""

    async def work(client: AsyncClient) -> None:
        await _found(client, id)
        await client.ledger.webhooks.remove(client.namespace, id)
        output.emit({"removed": id}) if as_json else output.say(f"{id}: removed")

    on_fleet(work)


@webhooks.command()
def rotate(
    id: HookId,
    hours: Annotated[
        float, typer.Option("--keep-hours", min=0, help="The old secret signs for so long, too.")
    ] = 24.0,
    as_json: options.AsJson = False,
) -> None:
    """Give a receiver a new secret; the old one goes on for a while beside it."""

    async def work(client: AsyncClient) -> None:
        hook, now = await _found(client, id), time.time()
        kept = [Secret(old.value, old.until or now + 3600 * hours) for old in hook.secrets]
        valid = [old for old in kept if now < old.until]
        changed = replace(hook, secrets=(Secret(make_secret()), *valid))
        await client.ledger.webhooks.put(changed)
        _print_secret(changed, as_json=as_json)

    on_fleet(work)


@webhooks.command()
def enable(id: HookId, as_json: options.AsJson = False) -> None:
    """Send to a receiver again that was disabled because it answered 410."""

    async def work(client: AsyncClient) -> None:
        await client.ledger.webhooks.put(replace(await _found(client, id), disabled=""))
        output.emit({"enabled": id}) if as_json else output.say(f"{id}: enabled")

    on_fleet(work)


@webhooks.command()
def dead(id: HookId, count: Count = 100, as_json: options.AsJson = False) -> None:
    """List the events that a receiver did not take within a day, newest first."""

    async def work(client: AsyncClient) -> None:
        await _found(client, id)
        letters = await client.ledger.webhooks.dead_letters(client.namespace, id, count)
        if as_json:
            output.emit({"dead": [_letter_view(letter) for letter in letters]})
            return
        output.table(
            ("event", "type", "of", "reason", "given up (UTC)"),
            [
                (
                    letter.event.id, letter.event.type, letter.event.subject_id, letter.reason,
                    output.moment(letter.at),
                )
                for letter in letters
            ],
            rare=("given up (UTC)", "event"),
            nothing="it took everything",
        )  # fmt: skip

    on_fleet(work)


@webhooks.command()
def replay(
    id: HookId,
    events: Annotated[
        list[str] | None,
        typer.Option("--event", help="Only these, see `dead`; repeatable.", show_default=False),
    ] = None,
    count: Count = 10_000,
    as_json: options.AsJson = False,
) -> None:
    """Send dead letters once more, under the ids that they had."""

    async def work(client: AsyncClient) -> None:
        await _found(client, id)
        held = client.ledger.webhooks
        letters = await held.dead_letters(client.namespace, id, count)
        chosen = [letter for letter in letters if not events or letter.event.id in events]
        replayed = await held.replay(client.namespace, id, chosen)
        output.emit({"replayed": replayed}) if as_json else output.say(f"{replayed} replayed")

    on_fleet(work)


async def _found(client: AsyncClient, id: str) -> Webhook:
    hook = await client.ledger.webhooks.find(client.namespace, id)
    if hook is None:
        raise InvalidRequest(
            f"namespace {client.namespace!r} has no webhook {id!r}: see `webhooks list`"
        )
    return hook


def _print_secret(hook: Webhook, *, as_json: bool) -> None:
    secret = hook.secrets[0].value
    if as_json:
        output.emit({**_view(hook), "secret": secret})
        return
    output.say(f"{hook.id} {secret}")
    output.tell("The receiver checks messages by this secret; it is not shown again.")


def _view(hook: Webhook) -> dict[str, Any]:
    about = {"id": hook.id, "url": hook.url, "events": list(hook.events)}
    return {**about, "disabled": hook.disabled}


def _status_view(status: WebhookStatus) -> dict[str, Any]:
    names = ("sent", "failed", "waiting", "oldest", "dead")
    return {**_view(status.hook), **{name: getattr(status, name) for name in names}}


def _letter_view(letter: DeadLetter) -> dict[str, Any]:
    event = letter.event
    return {
        "event": event.id, "type": event.type, "id": event.subject_id, "reason": letter.reason,
        "at": letter.at,
    }  # fmt: skip
