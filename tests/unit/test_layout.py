"""The shape of the code base: who imports whom, how large things get, what they are called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client" / "speechfleet"
WORKER = ROOT / "worker" / "speechfleet_worker"
MODULES = sorted([*CLIENT.rglob("*.py"), *WORKER.rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MODULE_LINES = 400
CLASS_LINES = 200
EMPTY_NAMES = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
OF_PROVIDERS = {"redis", "celery", "kombu", "boto3", "botocore"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def every(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=name_of)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in the file, in functions and type checks too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            assert node.module is not None
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def test_there_is_something_to_look_at() -> None:
    assert CLIENT / "tts.py" in MODULES
    assert WORKER / "providers" / "base.py" in MODULES


@every([path for path in MODULES if CLIENT in path.parents])
def test_the_client_never_imports_the_worker(path: Path) -> None:
    assert "speechfleet_worker" not in packages(path)


@every([path for path in MODULES if CLIENT in path.parents and path != CLIENT / "audio.py"])
def test_the_client_needs_neither_celery_nor_pyav(path: Path) -> None:
    assert not packages(path) & {"celery", "kombu", "av", "sentencex"}


@every([path for path in MODULES if CLIENT in path.parents and path.parent.name != "gateway"])
def test_only_the_gateway_and_workers_encode(path: Path) -> None:
    assert "speechfleet.audio" not in imports(path)


@every([path for path in MODULES if path.parent.name == "gateway"])
def test_the_gateway_is_a_client_like_any_other(path: Path) -> None:
    assert not packages(path) & {"redis", "boto3", "botocore"}


@every(sorted((WORKER / "providers").rglob("*.py")))
def test_providers_know_nothing_of_redis_celery_or_s3(path: Path) -> None:
    assert not packages(path) & OF_PROVIDERS
    assert not {name for name in imports(path) if name.startswith("speechfleet.ledger")}


@every(MODULES)
def test_only_settings_reads_our_part_of_the_environment(path: Path) -> None:
    if path != CLIENT / "settings.py":
        reads = re.compile(r"""(environ(\.get\(|\[)|getenv\()\s*f?["']SPEECHFLEET_""")
        assert not reads.search(path.read_text(encoding="utf-8"))


@every([*MODULES, *TESTS])
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < MODULE_LINES


@every(MODULES)
def test_classes_stay_small(path: Path) -> None:
    sizes = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: size for name, size in sizes.items() if size >= CLASS_LINES} == {}


@every([*MODULES, *TESTS])
def test_names_say_what_a_module_is_about(path: Path) -> None:
    assert not set(path.stem.split("_")) & EMPTY_NAMES


@every(MODULES)
def test_every_module_says_what_it_is(path: Path) -> None:
    if path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(tree_of(path))
