"""Tables of settings, errors, metrics and transitions, read from the code."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from enum import Enum
from itertools import pairwise
from typing import get_args

from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from speechfleet.cli.exit_status import ExitStatus
from speechfleet.cli.exit_status import status_of as exit_status_of
from speechfleet.errors import JobFailed, SpeechFleetError
from speechfleet.gateway.error_responses import status_of
from speechfleet.gateway.errors import GatewayError
from speechfleet.gateway.metrics import (
    HttpMetrics,
    gauges,
    quota_families,
    sums,
    webhook_families,
)
from speechfleet.ledger.overview import Overview
from speechfleet.lifecycle import TRANSITIONS, Event
from speechfleet.quotas import NamespaceQuotaExceeded
from speechfleet.settings import Settings

GROUPS = {
    "Fleet": ("redis_", "store", "namespace"),
    "Jobs": ("default_", "max_", "backoff", "record_", "stream_", "batch_"),
    "Workers": ("slots", "provider_slots", "limits", "prices", "look_ahead", "grace", "store_",
                "timeouts", "middleware"),
    "Sessions": ("session",),
    "Providers": ("providers", "endpoints", "result_"),
    "Gateway": ("gateway_",),
    "Tenants": ("quotas", "webhook"),
    "Logs and traces": ("log_", "traces"),
}  # fmt: skip
OTHER = "Further settings"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; ``|`` in cells is escaped."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("``", "`")


def first_sentence(docstring: str | None) -> str:
    """The first sentence of a docstring, in one line."""
    paragraph = " ".join((docstring or "").partition("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + stop.strip()


# --- settings -------------------------------------------------------------------------------


def settings() -> str:
    """Every setting with its default and meaning, by group."""
    groups: dict[str, list[tuple[str, FieldInfo]]] = {}
    for name, field in Settings.model_fields.items():
        groups.setdefault(_group(name), []).append((name, field))
    parts = []
    for group in (*GROUPS, OTHER):
        if fields := groups.get(group):
            rows = [
                (f"`SPEECHFLEET_{name.upper()}`", _default(field), _meaning(field))
                for name, field in fields
            ]
            parts.append(f"## {group}\n\n{table(('variable', 'default', 'meaning'), rows)}")
            parts += [part for name, field in fields for part in _nested(name, field)]
    return "\n\n".join(parts)


def _nested(name: str, field: FieldInfo) -> Iterator[str]:
    """The fields of the object that a JSON setting holds, or holds by name."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows = [
                (f"`{key}`", _default(below) if not below.is_required() else "needed",
                 below.description or "")
                for key, below in kind.model_fields.items()
            ]  # fmt: skip
            yield (
                f"Fields of `SPEECHFLEET_{name.upper()}` ({_uncapitalized(kind)}):\n\n"
                + table(("field", "default", "meaning"), rows)
            )


def _uncapitalized(kind: type[BaseModel]) -> str:
    text = first_sentence(kind.__doc__).removesuffix(".")
    return text[:1].lower() + text[1:]


def _group(name: str) -> str:
    found = [
        (len(prefix), group)
        for group, prefixes in GROUPS.items()
        for prefix in prefixes
        if name == prefix or (name.startswith(prefix) and prefix.endswith("_"))
        or (prefix == "session" and name.startswith(prefix))
        or (prefix == "backoff" and name.startswith(prefix))
    ]  # fmt: skip
    return max(found)[1] if found else OTHER


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, BaseModel):
        return f"`{json.dumps(value.model_dump())}`"
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return f"`{','.join(value)}`"
    if isinstance(value, bool | tuple | dict):
        return f"`{json.dumps(value)}`"
    if isinstance(value, int | float):
        return f"{value:g}" if value < 1e5 else str(int(value))
    return f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    text = field.description or ""
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        text = text or first_sentence(field.annotation.__doc__)
    return text


# --- errors ---------------------------------------------------------------------------------


Kind = type[SpeechFleetError]


def error_kinds(root: Kind = SpeechFleetError, depth: int = 0) -> Iterator[tuple[int, Kind]]:
    """Every public error with its depth in the tree, parents first."""
    private = root.__name__.startswith("_")
    if not private:
        yield depth, root
    for child in root.__subclasses__():
        yield from error_kinds(child, depth if private else depth + 1)


def error_tree() -> str:
    """The tree of the errors, drawn in text."""
    lines = [f"{'    ' * depth}{kind.__name__}" for depth, kind in _library_kinds()]
    return "```text\n" + "\n".join(lines) + "\n```"


def _library_kinds() -> Iterator[tuple[int, Kind]]:
    for depth, kind in error_kinds():
        if kind.__module__.startswith("speechfleet.") and not _of_gateway(kind):
            yield depth, kind


def _of_gateway(kind: Kind) -> bool:
    return issubclass(kind, GatewayError)


def errors() -> str:
    """Every error by its code: meaning, whether it may pass, and the status it gives."""

    def code(kind: Kind) -> str:
        anchor = "" if kind is NamespaceQuotaExceeded else f'<span id="{kind.code}"></span>'
        return f"{anchor}`{kind.code}`"  # a page has each id once

    rows = [
        (
            code(kind), f"`{kind.__name__}`",
            first_sentence(kind.__doc__), "yes" if kind.retryable else "",
            status_of(_instance(kind)), exit_status_of(_instance(kind)),
        )
        for _, kind in _library_kinds()
    ]  # fmt: skip
    return table(("code", "class", "meaning", "retryable", "HTTP", "exit"), rows)


def gateway_errors() -> str:
    """The errors that only the gateway makes."""
    rows = [
        (f"`{kind.code}`", kind.status, first_sentence(kind.__doc__),
         "yes" if kind.retryable else "")
        for _, kind in error_kinds(GatewayError)
        if issubclass(kind, GatewayError) and kind is not GatewayError
    ]  # fmt: skip
    return table(("code", "HTTP", "meaning", "retryable"), rows)


def _instance(kind: Kind) -> SpeechFleetError:
    """An error of the kind, made without its own arguments."""
    error = kind.__new__(kind)
    Exception.__init__(error, "")
    if isinstance(error, JobFailed):
        error.code = JobFailed.code
    return error


def exit_statuses() -> str:
    """The exit statuses of the command line."""
    meanings = {**_member_docs(ExitStatus), "DONE": "Done."}
    rows = [(status.value, meanings.get(status.name, status.name.lower().replace("_", " ")))
            for status in ExitStatus]  # fmt: skip
    return table(("exit status", "means"), rows)


# --- metrics --------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric of ``/metrics``."""
    tenants = [*quota_families([]), *webhook_families([])]
    families = [*gauges(_empty_overview(), []), *tenants, *sums([])]
    rows = [
        (f"`{_exposed(family.name, family.type)}`", family.type,
         _names(getattr(family, "_labelnames", ())), family.documentation)
        for family in families
    ]  # fmt: skip
    for own in vars(HttpMetrics()).values():
        if isinstance(own, MetricWrapperBase):
            (family,) = own.describe()
            name = _exposed(family.name, family.type)
            rows.append(
                (
                    f"`{name}`",
                    family.type,
                    _names(getattr(own, "_labelnames", ())),
                    family.documentation,
                )
            )
    return table(("metric", "type", "labels", "meaning"), rows)


def _exposed(name: str, kind: str) -> str:
    return name + ("_total" if kind == "counter" else "")


def _names(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _empty_overview() -> Overview:
    """An overview of no fleet: zeros and empty collections, by the fields' types."""
    empty: dict[str, object] = {"int": 0, "float": 0.0, "list": [], "dict": {}, "Sequence": []}
    kinds = {field.name: str(field.type).partition("[")[0] for field in fields(Overview)}
    return Overview(**{name: empty[kind] for name, kind in kinds.items()})  # type: ignore[arg-type]


# --- states ---------------------------------------------------------------------------------

TRANSITION_SCRIPTS: dict[Event, tuple[str, ...]] = {
    Event.CLAIM: ("claim.lua",),
    Event.FINISH: ("finish.lua",),
    Event.BACK_OFF: ("fail.lua",),
    Event.SUSPEND: ("suspend.lua",),
    Event.FAIL: ("fail.lua", "requeue.lua"),
    Event.REQUEUE: ("fall_back.lua", "requeue.lua"),
    Event.RECOVER: ("requeue.lua",),
    Event.CANCEL: ("cancel.lua", "claim.lua", "fail.lua"),
    Event.RETRY: ("retry.lua",),
}
"""Scripts that make each transition; `claim.lua` and `fail.lua` cancel for a stopped batch."""


def transitions() -> str:
    """The table of transitions, a row for each event."""
    meanings = _member_docs(Event)
    rows = []
    for event in Event:
        sources = [state for state, row in TRANSITIONS.items() if event in row]
        targets = dict.fromkeys(TRANSITIONS[state][event] for state in sources)
        rows.append(
            (
                f"`{event}`",
                ", ".join(sources),
                ", ".join(targets),
                ", ".join(f"`{script}`" for script in TRANSITION_SCRIPTS[event]),
                meanings.get(event.name, ""),
            )
        )
    return table(("event", "from", "to", "script", "meaning"), rows)


def _member_docs(kind: type[Enum]) -> dict[str, str]:
    """The string below each member of an enumeration."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for member, below in pairwise(definition.body):
        match member, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found
