"""Checks an input file of a batch before anything is spoken, and sorts its lines.

What is wrong with a line itself (no JSON, no ``custom_id``, one that came before) fails the whole
batch, with the line's number. What is wrong with the speech that it asks for (an unknown voice, an
empty text) fails that line alone. Nothing here is held in memory but the ids.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from speechfleet.corpus.item import LONGEST_ID, Item
from speechfleet.errors import InvalidRequest, SpeechFleetError

ENDPOINT = "/v1/audio/speech"
MAX_LINES = 50_000
MAX_PROBLEMS = 100
"""Problems that a failed batch tells of."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Check = Callable[[str, Mapping[str, Any], str], Item]
"""Makes an item of ``custom_id``, ``body`` and place. Raises InvalidRequest."""


@dataclass(frozen=True)
class Problem:
    """A problem of the input, in OpenAI's form."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class WrongLine(Exception):
    """A line that makes the whole input invalid."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


class BatchInput:
    """The lines of one input file. `read` it in a thread, once; `close` it after."""

    def __init__(self, check: Check, longest_line: int) -> None:
        self._check = check
        self._longest_line = longest_line
        self._ids: set[str] = set()
        self._accepted: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 # closed by `close`
        self.refused: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 # closed by `close`
        """Lines that are not spoken: JSON with line, custom_id, code, message, body."""
        self.problems: list[Problem] = []
        self.lines = 0
        self.refused_lines = 0

    def read(self, source: BinaryIO) -> None:
        """Check all lines; `problems` tells whether the input can be spoken."""
        while line := source.readline(self._longest_line + 1):
            self.lines += 1
            try:
                if len(line) > self._longest_line:
                    raise WrongLine(
                        "line_too_long", f"a line has at most {self._longest_line:,} bytes"
                    )
                if self.lines > MAX_LINES:
                    raise WrongLine("too_many_lines", f"a batch has at most {MAX_LINES:,} lines")
                self._take(line)
            except WrongLine as wrong:
                self.problems.append(Problem(wrong.code, wrong.message, self.lines, wrong.param))
                is_endless = wrong.code in ("line_too_long", "too_many_lines")
                if is_endless or len(self.problems) >= MAX_PROBLEMS:
                    return
        if not self.lines:
            self.problems.append(Problem("empty_file", "the input file has no line"))

    def items(self) -> Iterator[Item]:
        """Yield the items that are to be spoken."""
        self._accepted.seek(0)
        for line in self._accepted:
            yield Item(**json.loads(line))

    def close(self) -> None:
        """Remove the temporary files. Idempotent."""
        self._accepted.close()
        self.refused.close()

    def _take(self, line: bytes) -> None:
        if self.lines == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        id, body = self._parse(line)
        try:
            item = self._check(id, body, f"line {self.lines}")
        except InvalidRequest as error:
            self._refuse(id, body, error)
            return
        fields = {"id": item.id, "text": item.text, "fields": dict(item.fields)}
        self._accepted.write(json.dumps({**fields, "place": item.place}).encode() + b"\n")

    def _refuse(self, id: str, body: Mapping[str, Any], error: SpeechFleetError) -> None:
        self.refused_lines += 1
        problem = asdict(Problem(error.code, error.message, self.lines))
        line = {"custom_id": id, **problem, "body": body}
        self.refused.write(json.dumps(line).encode() + b"\n")

    def _parse(self, line: bytes) -> tuple[str, Mapping[str, Any]]:
        """Return ``custom_id`` and ``body``. Raises WrongLine."""
        try:
            asked = json.loads(line)
        except (ValueError, RecursionError):
            raise WrongLine("invalid_json_line", "this line is no JSON in UTF-8") from None
        if not isinstance(asked, dict):
            raise WrongLine("invalid_json_line", "this line is no JSON object")
        id = asked.get("custom_id")
        if not isinstance(id, str) or not id:
            raise WrongLine("missing_custom_id", "custom_id must be a text", "custom_id")
        try:
            Item(id, "").check_id()
        except SpeechFleetError:
            raise WrongLine(
                "invalid_custom_id",
                f"custom_id has at most {LONGEST_ID} characters, none of them a control character",
                "custom_id",
            ) from None
        if id in self._ids:
            raise WrongLine("duplicate_custom_id", f"{id!r} came before", "custom_id")
        self._ids.add(id)
        if asked.get("method") != "POST":
            raise WrongLine("invalid_method", "method must be POST", "method")
        if asked.get("url") != ENDPOINT:
            raise WrongLine("invalid_url", f"url must be {ENDPOINT}", "url")
        if not isinstance(body := asked.get("body"), dict):
            raise WrongLine("missing_body", "body must be an object", "body")
        return id, body
