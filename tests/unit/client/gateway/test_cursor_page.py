"""Pages that go on after an id."""

from __future__ import annotations

import pytest

from speechfleet.errors import InvalidRequest
from speechfleet.gateway.batches.cursor_page import CursorPage, Listed, ids_after


class Row(Listed):
    """All there is to a row."""


IDS = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("limit", [1, 2, 5, 6], ids=["one", "two", "all", "more"])
def test_pages_one_after_another_are_the_whole_list(limit: int) -> None:
    seen: list[str] = []
    after = None
    while True:
        found = [Row(id=id) for id in ids_after(IDS, after)[: limit + 1]]
        page = CursorPage[Row].of(found, limit)
        assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
        seen += [row.id for row in page.data]
        after = page.last_id
        if not page.has_more:
            break
    assert seen == IDS


def test_an_empty_page_names_no_id() -> None:
    page = CursorPage[Row].of([], 3)
    assert page.model_dump() == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip


def test_an_id_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not in this list"):
        ids_after(IDS, "z")
