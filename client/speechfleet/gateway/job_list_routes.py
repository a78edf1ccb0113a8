"""``GET /jobs``: the jobs of a namespace, filtered, page after page."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from speechfleet.errors import InvalidRequest
from speechfleet.gateway.context import CurrentContext, RequestContext
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.job_routes import JobView, view
from speechfleet.lifecycle import State
from speechfleet.request import Lane

router = APIRouter(prefix="/jobs", tags=["jobs"])
LARGEST_OFFSET = 100_000
"""The largest offset of a page of jobs."""
LARGEST_PAGE = 200
FILTERS = ("model", "voice", "lane", "batch", "since", "until", "after")
"""Parameters that go with a cursor, and not with an offset."""

AnyCaseState = Annotated[State, BeforeValidator(lambda name: str(name).upper())]


class JobQuery(BaseModel):
    """The filter of a list of jobs, and the place where it begins."""

    model_config = ConfigDict(allow_inf_nan=False)

    state: list[AnyCaseState] = Field([], description="of these, in any case; none: of all")
    model: str = Field("", description="provider/model, or a provider alone")
    voice: str = ""
    lane: Lane | None = None
    batch: str = Field("", description="id of their batch")
    since: float | None = Field(None, description="last changed then or later; Unix seconds")
    until: float | None = Field(None, description="last changed then or earlier; Unix seconds")
    after: str = Field("", description="`next` of the page before")
    offset: int = Field(0, ge=0, le=LARGEST_OFFSET, description="with no filter but state")
    count: int = Field(50, ge=1, le=LARGEST_PAGE)


class JobList(BaseModel):
    """A page of jobs, and how many there are in each state.

    `next`: pass it as `after` for the page that follows; "" at the end, null with an offset.
    """

    jobs: list[JobView]
    counts: dict[State, int]
    next: str | None
    offset: int
    count: int


@router.get("", response_model=JobList)
async def jobs(context: CurrentContext, query: Annotated[JobQuery, Query()]) -> Response:
    """List jobs of the key's namespace, those that changed last first.

    A page ends early, with a `next`, after it has looked at 5,000 jobs for a filter.
    """
    page = await (_from_offset(context, query) if query.offset else _search(context, query))
    counts = await context.client.counts()
    return Json({**page, "counts": counts, "offset": query.offset, "count": query.count})


async def _search(context: RequestContext, query: JobQuery) -> dict[str, Any]:
    fields = query.model_dump(include={*FILTERS, "count"}, exclude={"lane"})
    page = await context.client.search_jobs(state=query.state, lane=query.lane or "", **fields)
    return {"jobs": [view(status) for status in page.jobs], "next": page.next}


async def _from_offset(context: RequestContext, query: JobQuery) -> dict[str, Any]:
    if given := [name for name in FILTERS if getattr(query, name) not in (None, "")]:
        raise InvalidRequest(f"give an offset, or {given[0]} with the cursor `after`, not both")
    states = list(dict.fromkeys(query.state or State))
    statuses = await context.client.recent_jobs(states, offset=query.offset, count=query.count)
    return {"jobs": [view(status) for status in statuses], "next": None}
