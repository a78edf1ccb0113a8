"""The image's lock file: it holds what the image needs, at versions that fit, with hashes."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def extras() -> list[str]:
    dockerfile = (ROOT / "worker" / "Dockerfile").read_text(encoding="utf-8")
    (names,) = re.findall(r"\.\[([\w,]+)]", dockerfile)
    return str(names).split(",")


def required() -> Iterator[Requirement]:
    for text in PROJECT["dependencies"]:
        yield Requirement(text)
    names = extras()
    for extra in names:
        for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
            if requirement.name == PROJECT["name"]:  # an extra that contains other ones
                names += [name for name in requirement.extras if name not in names]
            else:
                yield requirement


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module
    spec.loader.exec_module(module)
    return module


def test_the_lock_satisfies_what_the_image_needs(sbom: ModuleType) -> None:
    locked = {canonicalize_name(one["name"]): one["version"] for one in sbom.components(LOCK)}
    for requirement in required():
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"make lock: {requirement} is not locked"
        assert version in requirement.specifier, f"make lock: {version} is not {requirement}"
    assert "hatchling" in locked


def test_every_package_has_hashes_and_comes_from_no_place_of_its_own(sbom: ModuleType) -> None:
    assert all(one["hashes"] for one in sbom.components(LOCK))
    assert "://" not in LOCK


def test_make_locks_the_extras_of_the_image() -> None:
    (names,) = re.findall(r"^IMAGE := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert names.split(",") == extras()


def test_the_bill_of_materials_names_each_package_once(sbom: ModuleType) -> None:
    document = sbom.bill(LOCK, "1.2.3")
    references = [one["bom-ref"] for one in document["components"]]
    assert len(references) == len(set(references)) > 50
    assert document["dependencies"][0]["dependsOn"] == references
    assert "pkg:pypi/fastapi@" in "".join(references)
