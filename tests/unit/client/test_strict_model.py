"""True and false are no numbers, in whatever people send and set."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field, ValidationError

import speechfleet.gateway
import speechfleet_worker.providers
from speechfleet.errors import InvalidRequest, MisconfiguredError
from speechfleet.settings import Settings
from speechfleet.strict_model import StrictModel
from speechfleet_worker.providers.base import validated_options
from speechfleet_worker.providers.dashscope.cosyvoice import DashScopeTaskOptions


def every_model() -> Iterator[type[BaseModel]]:
    """Find the models that say what they do with fields they do not know: those of inputs."""
    for package in (speechfleet.gateway, speechfleet_worker.providers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    kinds: list[type[BaseModel]] = [BaseModel]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("speechfleet") and kind.model_config.get("extra"):
            yield kind


def numbers(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)}
        if kinds & {int, float} and bool not in kinds:
            yield name


NUMBERS = [
    pytest.param(model, name, id=f"{model.__name__}.{name}")
    for model in sorted(set(every_model()), key=lambda model: model.__name__)
    for name in numbers(model)
]


def test_there_are_numbers_to_look_at() -> None:
    assert len(NUMBERS) > 80


@pytest.mark.parametrize("value", [True, False], ids=["true", "false"])
@pytest.mark.parametrize(("model", "name"), NUMBERS)
def test_a_boolean_is_no_number(model: type[BaseModel], name: str, value: bool) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({name: value})
    problems = {error["loc"][0]: error["type"] for error in refused.value.errors()}
    assert problems[name] == "boolean_as_number"


@pytest.mark.parametrize("value", [float("inf"), "-inf", "nan"], ids=["infinity", "less", "nan"])
@pytest.mark.parametrize(("model", "name"), NUMBERS)
def test_what_is_not_finite_is_no_number(
    model: type[BaseModel], name: str, value: float | str
) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({name: value})
    assert name in {error["loc"][0] for error in refused.value.errors()}


class Form(StrictModel):
    number: int | None = None
    ratio: float = 1.0
    switch: bool = False
    either: bool | int = 0
    slots: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"number": 1, "ratio": 1}, id="numbers"),
        pytest.param({"number": "1", "ratio": "1.5"}, id="numbers as text"),
        pytest.param({"switch": True, "either": True}, id="booleans where they belong"),
        pytest.param({"number": None}, id="none"),
        pytest.param({"slots": {"openai": 3}}, id="a mapping of numbers"),
    ],
)
def test_all_else_is_taken_as_before(fields: dict[str, Any]) -> None:
    Form.model_validate(fields)


def test_a_boolean_in_a_mapping_of_numbers_is_refused() -> None:
    with pytest.raises(ValidationError, match="a number, not true or false"):
        Form.model_validate({"slots": {"openai": True}})


def test_the_option_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"option 'pitch': .* not true or false"):
        validated_options(DashScopeTaskOptions, {"pitch": True})


def test_the_setting_is_named() -> None:
    with pytest.raises(MisconfiguredError, match=r"LIMITS, .* not true or false"):
        Settings.load(limits={"openai/tts-1": {"requests": True}})
