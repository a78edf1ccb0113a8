"""The state of a batch in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel

from speechfleet.gateway.batches.batch_input import ENDPOINT
from speechfleet.gateway.batches.cursor_page import Listed
from speechfleet.gateway.batches.file_listing import ERRORS, OUTPUT, output_id
from speechfleet.ledger import BatchState, BatchStatus
from speechfleet.ledger.batch_status import UNDER_WAY

INVALID = "invalid_input"
"""The code of a batch whose input file was refused."""
COMPLETION_WINDOW_S = 86_400.0
_NOTE = "openai"
"""The note of a batch that only this face writes."""

BatchStatusName = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]


class ProblemView(BaseModel):
    """A problem of the input; `line` counts from 1."""

    code: str
    message: str
    param: str | None
    line: int | None


class ProblemList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ProblemView]


class RequestCounts(BaseModel):
    total: int
    completed: int
    failed: int


class BatchView(Listed):
    """A batch. Times are Unix seconds."""

    object: Literal["batch"] = "batch"
    endpoint: str
    errors: ProblemList | None
    input_file_id: str
    completion_window: str
    status: BatchStatusName
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


@dataclass(frozen=True)
class Notes:
    """The order of a batch, and the counts of its input."""

    input_file_id: str
    filename: str
    metadata: Mapping[str, str] | None
    output_lifetime_s: int | None = None
    lines: int = 0
    refused: int = 0

    def counted(self, lines: int, refused: int) -> Notes:
        """Return the notes with the counts."""
        return replace(self, lines=lines, refused=refused)

    def as_about(self) -> dict[str, str]:
        """Return them as notes of a batch."""
        shown = {"corpus": self.filename, "total": str(self.lines - self.refused)}
        return {_NOTE: json.dumps(vars(self), default=dict), "endpoint": ENDPOINT, **shown}

    @classmethod
    def of(cls, status: BatchStatus) -> Notes | None:
        """Read them; None for a batch that was not made here."""
        listed = status.about.get(_NOTE)
        return None if listed is None else cls(**json.loads(listed))


@dataclass(frozen=True)
class FaceOfBatch:
    """A batch of the fleet, seen as one of OpenAI's. ``is_fed``: a worker holds its feed."""

    status: BatchStatus
    notes: Notes
    is_fed: bool

    @property
    def is_over(self) -> bool:
        """Tell whether no further line can end."""
        now = self.status
        if now.state is BatchState.ENDED:
            return True
        is_busy = now.outstanding or now.unread or self.is_fed
        return now.state not in UNDER_WAY and not is_busy

    @property
    def failed_lines(self) -> int:
        """Count the lines that failed or were refused, or that a batch has expired before."""
        if self.name == "expired":
            return self.notes.lines - self.status.succeeded
        return self.status.failed + self.notes.refused

    @property
    def outputs(self) -> list[str]:
        """Return the kinds of files that it has put out."""
        if not self.is_over or self.status.code == INVALID:
            return []
        counts = {OUTPUT: self.status.succeeded, ERRORS: self.failed_lines}
        return [kind for kind, count in counts.items() if count]

    @property
    def name(self) -> BatchStatusName:
        """Return OpenAI's name of its state."""
        match self.status.state:
            case BatchState.VALIDATING:
                return "validating"
            case BatchState.EXPIRED if self.is_over:
                return "expired"
            case BatchState.ENDED:
                return "completed"
            case BatchState.CANCELLED:
                return "cancelled" if self.is_over else "cancelling"
            case BatchState.STOPPED if self.is_over:
                return "failed"
        submitted, total = self.status.submitted, self.notes.lines - self.notes.refused
        is_spoken = submitted >= total and not self.status.outstanding
        return "finalizing" if is_spoken else "in_progress"

    def view(self) -> BatchView:
        """Return it as it is answered."""
        now, name = self.status, self.name
        updated, opened = int(now.updated), int(now.opened) or None
        at = {state: updated if name == state else None for state in ("completed", "failed")}
        is_cancelled = now.state is BatchState.CANCELLED
        outputs = self.outputs
        return BatchView(
            id=now.id,
            endpoint=ENDPOINT,
            errors=self._problems(),
            input_file_id=self.notes.input_file_id,
            completion_window="24h",
            status=name,
            output_file_id=output_id(now.id, OUTPUT) if OUTPUT in outputs else None,
            error_file_id=output_id(now.id, ERRORS) if ERRORS in outputs else None,
            created_at=int(now.created),
            in_progress_at=opened,
            expires_at=int(now.expires or now.created + COMPLETION_WINDOW_S),
            finalizing_at=updated if name in ("finalizing", "completed") else None,
            completed_at=at["completed"],
            failed_at=at["failed"],
            expired_at=updated if name == "expired" else None,
            cancelling_at=updated if is_cancelled else None,
            cancelled_at=updated if name == "cancelled" else None,
            request_counts=RequestCounts(
                total=self.notes.lines, completed=now.succeeded, failed=self.failed_lines
            ),
            metadata=dict(self.notes.metadata) if self.notes.metadata else None,
        )

    def _problems(self) -> ProblemList | None:
        now = self.status
        if now.state is not BatchState.STOPPED:
            return None
        listed: list[dict[str, Any]] = json.loads(now.about.get("problems", "[]"))
        if not listed:
            listed = [{"code": now.code, "message": now.message, "param": None, "line": None}]
        return ProblemList(data=[ProblemView(**each) for each in listed])
