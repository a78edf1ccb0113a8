"""Pages of OpenAI's lists, which go on after the last id of the page before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel

from speechfleet.errors import InvalidRequest


class Listed(BaseModel):
    """A view with the id by which its list goes on."""

    id: str


View = TypeVar("View", bound=Listed)
After = Annotated[str | None, Query(description="the last id of the page before")]


class CursorPage(BaseModel, Generic[View]):
    """A page of a list; where `has_more`, ask again with `after` as the last id."""

    object: Literal["list"] = "list"
    data: list[View]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, found: Sequence[View], limit: int) -> CursorPage[View]:
        """Make a page of what was found: more than the limit tells that there is another one."""
        data = list(found[:limit])
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return cls(data=data, first_id=first, last_id=last, has_more=len(found) > limit)


def ids_after(ids: Sequence[str], after: str | None) -> Sequence[str]:
    """Return the ids behind one of them. Raises InvalidRequest where it is not among them."""
    if after is None:
        return ids
    if after not in ids:
        raise InvalidRequest(f"after={after[:100]!r} is not in this list")
    return ids[ids.index(after) + 1 :]
