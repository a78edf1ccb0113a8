"""Models of what people send and set: true, false and infinity are no numbers in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

NUMBERS = {int, float}


class StrictModel(BaseModel):
    """Refuse true and false where a number is due, and numbers that are not finite.

    pydantic takes true for 1, and JSON has no word for infinity. Text that holds a number is
    still one: the cells of a table and variables are text. So pydantic's own strict mode is not
    used.
    """

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool | Mapping):
            assert info.field_name is not None
            if _has_boolean_as_number(value, cls.model_fields[info.field_name].annotation):
                raise PydanticCustomError(
                    "boolean_as_number", "Input should be a number, not true or false"
                )
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _refuse_infinity(cls, value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            raise PydanticCustomError("finite_number", "Input should be a finite number")
        return value


def _has_boolean_as_number(value: object, annotation: Any) -> bool:
    if isinstance(value, bool):
        kinds = {annotation, *get_args(annotation)}
        return bool(kinds & NUMBERS) and bool not in kinds
    if isinstance(value, Mapping) and get_origin(annotation) is dict:
        _, of_values = get_args(annotation)
        return any(_has_boolean_as_number(each, of_values) for each in value.values())
    return False
