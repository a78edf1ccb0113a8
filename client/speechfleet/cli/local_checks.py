"""The checks of `doctor` where no fleet is set or running: would `say` bring one up?"""

from __future__ import annotations

from speechfleet.cli.findings import Finding, Verdict
from speechfleet.cli.providers import registry_answer
from speechfleet.embedded.data_folder import default_folder, make_folders
from speechfleet.embedded.requirements import missing_modules
from speechfleet.embedded.valkey import find_server
from speechfleet.errors import SpeechFleetError

INSTALL = "pip install 'speechfleet[local]'"


def examine_machine() -> list[Finding]:
    """Check everything that a fleet on this machine needs."""
    findings = [_mode(), _folder(), _server(), _worker()]
    if findings[-1].verdict is Verdict.OK:
        findings += _providers()
    return findings


def _mode() -> Finding:
    found = "none is set or running: `say`, `batch` and `session` bring one up on this machine"
    return Finding("fleet", Verdict.OK, found, "`speechfleet up` keeps one running")


def _folder() -> Finding:
    folder = default_folder()
    if folder is None:
        found = "no home folder that can be written to: what is spoken is gone afterwards"
        return Finding("data folder", Verdict.WARNING, found, "set XDG_DATA_HOME")
    try:
        make_folders(folder)
    except (SpeechFleetError, OSError) as error:
        return Finding("data folder", Verdict.FAILURE, str(folder), str(error))
    return Finding("data folder", Verdict.OK, str(folder))


def _server() -> Finding:
    try:
        return Finding("Redis", Verdict.OK, f"brought up by the command: {find_server()}")
    except SpeechFleetError as error:
        return Finding("Redis", Verdict.FAILURE, "no server is installed", error.message)


def _worker() -> Finding:
    if missing := missing_modules():
        found = f"not installed: {', '.join(missing)}"
        return Finding("worker", Verdict.FAILURE, found, INSTALL)
    return Finding("worker", Verdict.OK, "installed")


def _providers() -> list[Finding]:
    """Ask the registry which providers a worker that starts here would serve."""
    try:
        rows = registry_answer()["providers"]
    except SpeechFleetError as error:
        return [Finding("providers", Verdict.FAILURE, error.code, error.message)]
    reasons = {row["provider"]: row["reason"] for row in rows}
    return [
        Finding(f"provider {name}", Verdict.WARNING, "not ready", reason)
        if reason
        else Finding(f"provider {name}", Verdict.OK, "ready")
        for name, reason in sorted(reasons.items())
    ]
