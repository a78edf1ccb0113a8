"""Checks all of a corpus that can be known before anything is sent or paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from speechfleet.cli import output
from speechfleet.cli.measure_process import is_available, line_of, measure
from speechfleet.corpus.item import BadItem, Item
from speechfleet.errors import InvalidRequest
from speechfleet.provider_options import BUILT_IN_PROVIDERS
from speechfleet.request import Request
from speechfleet.settings import Settings

LINES = "lines"
"""The format of plain text, in which lines without a letter are rules and scene breaks."""
NO_TEXT = "there is nothing to say: the text holds no letter and no digit"
MAX_NAMED = 1000
"""Bad items that are named; all are counted."""

Combination = tuple[str, str, str]


@dataclass
class Precheck:
    """The errors of a corpus that show without a call to a provider.

    `observe` each item, then `finish`; `good` yields what can be spoken.

    ``bad_combinations``: of model, voice and options, which no worker can speak; ``bad``: the
    first bad items; ``passed_over``: lines of plain text without anything to speak.
    """

    order: Mapping[str, Any]
    settings: Settings
    passes_over: bool
    bad_combinations: set[Combination] = field(default_factory=set)
    bad: list[BadItem] = field(default_factory=list)
    bad_count: int = 0
    passed_over: int = 0
    items: int = 0
    _combinations: dict[Combination, tuple[Request, str, int]] = field(default_factory=dict)

    def good(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items that can be spoken."""
        for item in items:
            if item.is_speakable and self._combination(item) not in self.bad_combinations:
                yield item

    def request(self, item: Item) -> Request:
        """Return the item's request. Raises InvalidRequest."""
        return item.request("", self.order, self.settings.max_text)

    def _combination(self, item: Item) -> Combination:
        request = self.request(item)
        return request.model, request.voice, request.options_json

    def observe(self, item: Item) -> None:
        """Look at one item, before `finish`."""
        self.items += 1
        if not item.is_speakable:
            self._note_unspeakable(item)
            return
        request = self.request(item)
        key = (request.model, request.voice, request.options_json)
        first, place, count = self._combinations.get(key, (request, item.place, 0))
        self._combinations[key] = (first, place, count + 1)

    def finish(self, name: str, *, skip_bad: bool) -> int:
        """Check the combinations, and name what is wrong with the corpus ``name``.

        Returns the number of items that will not be spoken. Raises InvalidRequest where items
        are bad and not to be skipped.
        """
        self._check(self._combinations)
        for bad in self.bad:
            output.tell(str(bad))
        if self.passed_over:
            output.tell(f"{self.passed_over:,} lines without a letter or a digit are passed over")
        if self.bad_count and not skip_bad:
            raise InvalidRequest(
                f"{self.bad_count:,} of {self.items:,} items in {name} cannot be spoken: nothing "
                "was sent; correct them, or --skip-bad speaks the rest"
            )
        if self.bad_count:
            output.tell(f"{self.bad_count:,} items that cannot be spoken are skipped")
        return self.bad_count + self.passed_over

    def _note_unspeakable(self, item: Item) -> None:
        if self.passes_over:
            self.passed_over += 1
        else:
            self._note(BadItem(item.place, NO_TEXT), 1)

    def _check(self, combinations: Mapping[Combination, tuple[Request, str, int]]) -> None:
        by_place = {place: key for key, (_, place, _) in combinations.items()}
        lines = [
            line_of(request, place)
            for request, place, _ in combinations.values()
            if self._is_known_here(request)
        ]
        if not lines or not is_available():
            return
        for problem in measure("check", lines, self.settings)["problems"]:
            key = by_place[problem["line"]]
            self.bad_combinations.add(key)
            count = combinations[key][2]
            more = f" (and {count - 1:,} more items like it)" if count > 1 else ""
            self._note(BadItem(problem["line"], f"{problem['message']}{more}"), count)

    def _is_known_here(self, request: Request) -> bool:
        """Tell if this machine can judge; a fleet elsewhere may serve providers of its own."""
        settings = self.settings
        known = {*BUILT_IN_PROVIDERS, *settings.providers, *settings.endpoints}
        return settings.redis_url is None or request.provider in known

    def _note(self, bad: BadItem, count: int) -> None:
        self.bad_count += count
        if len(self.bad) < MAX_NAMED:
            self.bad.append(bad)
