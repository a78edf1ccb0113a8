"""The names of `speechfleet`, and the synchronous twin of the asynchronous client."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import speechfleet
from speechfleet import errors

ROOT = Path(__file__).parents[3]
TWINS = ("Client", "Job", "Session", "Batch", "Speech")


def test_every_error_is_exported() -> None:
    ours = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value)
        and issubclass(value, errors.SpeechFleetError)
        and not name.startswith("_")
    }
    assert ours <= set(speechfleet.__all__)


def test_every_name_is_found_where_it_is_first_used() -> None:
    for name in speechfleet.__all__:
        assert getattr(speechfleet, name) is not None, name
    assert set(speechfleet.__all__) <= set(dir(speechfleet))
    with pytest.raises(AttributeError, match="Clint"):
        _ = speechfleet.Clint


LATER = {"redis", "pydantic", "typer", "rich", "numpy", "av", "celery"}
"""Packages that take long to import, and that a program may never need."""


def test_the_import_of_the_package_brings_no_other_along() -> None:
    code = "import sys, speechfleet; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert LATER.isdisjoint(done.stdout.split())


def test_no_public_name_is_that_of_a_module() -> None:
    """Whoever imports the module would find it in the name's place."""
    modules = {path.stem for path in Path(speechfleet.__file__).parent.glob("*.py")}
    assert modules.isdisjoint(speechfleet.__all__)


def test_every_handle_is_exported_twice() -> None:
    assert {*TWINS, *(f"Async{name}" for name in TWINS), "Status", "Chunk"} <= set(
        speechfleet.__all__
    )
    assert speechfleet.__version__


def test_the_synchronous_client_is_up_to_date() -> None:
    """Run ``make sync`` where this fails."""
    subprocess.run([sys.executable, ROOT / ".ci" / "generate_sync.py", "--check"], check=True)


@pytest.mark.parametrize("name", TWINS)
def test_every_public_method_has_a_twin_with_signature_and_docstring(name: str) -> None:
    asynchronous = getattr(speechfleet, f"Async{name}")
    own = getattr(speechfleet, name)
    for method, function in inspect.getmembers(own, inspect.isfunction):
        if method.startswith("_"):
            continue
        twin = inspect.signature(getattr(asynchronous, method))
        assert list(inspect.signature(function).parameters) == list(twin.parameters), method
        assert function.__doc__, f"{name}.{method} has no docstring"
