"""The reference of the command line, read from the Typer application."""

from __future__ import annotations

import inspect
from typing import Any

from docs.site.tables import table
from typer.main import get_command

from speechfleet.cli.app import app

PROGRAM = "speechfleet"


def commands() -> str:
    """A section for each command, in the groups of ``speechfleet --help``."""
    panels: dict[str, list[str]] = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        panel = command.rich_help_panel or "Other"
        panels.setdefault(panel, []).append(_command(f"{PROGRAM} {name}", command))
    return "\n\n".join(
        f"## {panel}\n\n" + "\n\n".join(sections) for panel, sections in panels.items()
    )


def _command(name: str, command: Any) -> str:
    if hasattr(command, "commands"):
        parts = []
        for below, sub in command.commands.items():
            parts.append(_command(name if below == "run" else f"{name} {below}", sub))
        return "\n\n".join(parts)
    parts = [f"### {name}", _help(command), _usage(name, command)]
    rows = [(_names(parameter), _default(parameter), parameter.help or "")
            for parameter in command.params if not parameter.hidden]  # fmt: skip
    if rows:
        parts.append(table(("argument", "default", "meaning"), rows))
    return "\n\n".join(parts)


def _help(command: Any) -> str:
    return inspect.cleandoc(command.help or "")


def _usage(name: str, command: Any) -> str:
    words = [name]
    for parameter in command.params:
        if not _is_option(parameter):
            shown = _metavar(parameter) + "..." * (parameter.nargs != 1)
            words.append(shown if parameter.required else f"[{shown}]")
    if any(_is_option(parameter) for parameter in command.params):
        words.append("[options]")
    return f"```text\n{' '.join(words)}\n```"


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _names(parameter: Any) -> str:
    if not _is_option(parameter):
        return f"`{_metavar(parameter)}`"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag or parameter.count:
        return f"`{names}`"
    return f"`{names} {_metavar(parameter)}`"


def _default(parameter: Any) -> str:
    if (
        not parameter.show_default
        or parameter.default in (None, "", ())
        or getattr(parameter, "is_flag", False)
    ):
        return ""
    return f"`{parameter.default}`"
