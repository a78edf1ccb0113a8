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


@every(
    [path for path in MODULES if CLIENT in path.parents and path != CLIENT / "audio" / "codecs.py"]
)
def test_the_client_needs_neither_celery_nor_pyav(path: Path) -> None:
    assert not packages(path) & {"celery", "kombu", "av", "sentencex"}


def in_gateway(path: Path) -> bool:
    return CLIENT / "gateway" in path.parents


@every([path for path in MODULES if CLIENT in path.parents and not in_gateway(path)])
def test_only_the_gateway_and_workers_encode(path: Path) -> None:
    assert "speechfleet.audio.codecs" not in imports(path)


@every([path for path in MODULES if in_gateway(path)])
def test_the_gateway_is_a_client_like_any_other(path: Path) -> None:
    assert not packages(path) & {"redis", "boto3", "botocore"}


SDKS: dict[str, set[str]] = {"polly.py": {"botocore"}}
"""Packages that are a provider's own SDK, although they are the store's, too."""


@every(sorted((WORKER / "providers").rglob("*.py")))
def test_providers_know_nothing_of_redis_celery_or_s3(path: Path) -> None:
    own = SDKS.get(path.name, set())
    assert not packages(path) & (OF_PROVIDERS - own)
    assert not {name for name in imports(path) if name.startswith("speechfleet.ledger")}


PROGRAMS = ("gateway", "cli", "demo", "integrations")


def is_program(path: Path) -> bool:
    return CLIENT in path.parents and path.relative_to(CLIENT).parts[0] in PROGRAMS


@every([path for path in MODULES if not is_program(path)])
def test_the_library_imports_no_program(path: Path) -> None:
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("speechfleet.")}
    assert not rooms & set(PROGRAMS)


OWN_CONNECTIONS = (WORKER / "maintenance" / "heartbeat.py", WORKER / "broker.py")
"""The heartbeat's thread has a connection of its own; so has Celery's transport."""


@every([path for path in MODULES if path.parent.name != "ledger" and path not in OWN_CONNECTIONS])
def test_only_the_ledger_imports_redis(path: Path) -> None:
    assert "redis" not in packages(path)


def module_of(path: Path) -> str:
    base = CLIENT.parent if CLIENT in path.parents else WORKER.parent
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path, modules: set[str]) -> set[str]:
    """The modules of ours that a file imports as it is loaded, or for its types."""
    tree, found = tree_of(path), set[str]()
    lazy = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in lazy and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in modules else node.module)
    return found & modules


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or by others."""
    reached = {name: set(edges) for name, edges in graph.items()}
    for middle in graph:
        for name in graph:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    together = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(together)]


def test_a_circle_is_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set[str]()}
    assert circles(graph) == [["b", "c"]]


def test_no_modules_import_each_other() -> None:
    modules = {module_of(path): path for path in MODULES}
    graph = {name: imported_modules(path, set(modules)) for name, path in modules.items()}
    assert circles(graph) == []


@every(TESTS)
def test_no_test_imports_another_test(path: Path) -> None:
    shared = ("tests.support", "tests.benchmarks", "tests.soak")
    ours = [name for name in imports(path) if name.startswith("tests.")]
    assert [name for name in ours if not name.startswith(shared)] == []


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
