"""The commands ``gateway`` and ``key``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from speechfleet.cli import options, output
from speechfleet.cli.connect import settings_of_fleet
from speechfleet.errors import InvalidRequest, MissingExtra
from speechfleet.observability import logs
from speechfleet.request import check_id

GATEWAY_MODULES = ("fastapi", "uvicorn", "httptools", "prometheus_client", "av")


def gateway(
    host: Annotated[
        str, typer.Option(help="What to bind; anything but this machine needs API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8080,
    log_level: Annotated[str, typer.Option("--log-level")] = "INFO",
) -> None:
    """Serve the fleet over HTTP: OpenAI's speech endpoint, jobs, the console, metrics.

    Prints its address and then `ready`; runs until it is interrupted.
    """
    require_gateway()
    from speechfleet.gateway import server  # noqa: PLC0415 # an extra

    with settings_of_fleet(start=True) as settings:
        logs.to_stderr(log_level, settings.log_format)
        listening = server.bind(settings, host, port)
        shown = f"[{host}]" if ":" in host else host

        def ready() -> None:
            output.say(f"gateway http://{shown}:{listening.getsockname()[1]}")
            output.say("ready")

        server.serve(settings, listening, ready)


def key(
    namespace: Annotated[
        str, typer.Argument(help="Namespace to which the key gives access.")
    ] = "default",
    as_json: options.AsJson = False,
) -> None:
    """Make an API key for a gateway. It is shown once; only its hash is kept, in a setting."""
    if set(namespace) & set("=,"):
        raise InvalidRequest(
            f"the namespace {namespace!r} holds '=' or ',', which separate the keys in "
            "SPEECHFLEET_GATEWAY_KEYS: take another name"
        )
    require_gateway()
    from speechfleet.gateway.access import digest, make_key  # noqa: PLC0415 # an extra

    made = make_key()
    setting = f"{check_id(namespace)}={digest(made)}"
    if as_json:
        output.emit({"key": made, "namespace": namespace, "SPEECHFLEET_GATEWAY_KEYS": setting})
        return
    output.say(made)
    output.tell(f"For the gateway's environment, more of them separated by commas:\n"
                f"SPEECHFLEET_GATEWAY_KEYS={setting}")  # fmt: skip


def require_gateway() -> None:
    """Raise MissingExtra where packages of the gateway are missing."""
    if not all(find_spec(name) for name in GATEWAY_MODULES):
        raise MissingExtra("the gateway", "gateway")
