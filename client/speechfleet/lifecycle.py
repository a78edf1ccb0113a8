"""The states of a job, and the one table of transitions between them.

    submit ─▶ QUEUED ──claim──▶ RUNNING ──finish──▶ SUCCEEDED ─┐
                ▲ ▲                │ │                          ├─retry─▶ QUEUED, next epoch
                │ └─requeue/recover┘ ├──fail─────▶ FAILED ──────┤
                └──back_off, suspend─┘                          │
              QUEUED, RUNNING ─────────cancel──▶ CANCELLED ─────┘

Each transition is one script in ``ledger/lua/job``, so that it happens once or not at all. The
scripts get `TRANSITIONS` when they are loaded, and keep no second copy of it.
"""

from __future__ import annotations

from enum import StrEnum

from speechfleet.errors import IllegalTransition


class State(StrEnum):
    """The state of a job."""

    QUEUED = "QUEUED"
    """Waits for a worker, or for its next attempt."""
    RUNNING = "RUNNING"
    """Belongs to exactly one execution, which alone holds the job's token."""
    SUCCEEDED = "SUCCEEDED"
    """Its text is synthesized, and the audio is stored."""
    FAILED = "FAILED"
    """Given up; the record names the cause."""
    CANCELLED = "CANCELLED"
    """Stopped because somebody asked for it."""

    @property
    def terminal(self) -> bool:
        """Tell whether the job has ended."""
        return self not in (State.QUEUED, State.RUNNING)


class Event(StrEnum):
    """A cause of a transition."""

    CLAIM = "claim"
    """A worker takes the job and gets a token."""
    FINISH = "finish"
    """The token's holder has stored the audio."""
    BACK_OFF = "back_off"
    """The attempt failed; another one is due later."""
    SUSPEND = "suspend"
    """The job has to wait: another job synthesizes the same text, or a rate limit is reached. It
    waits without a slot until it is resumed."""
    FAIL = "fail"
    """No further attempt follows."""
    REQUEUE = "requeue"
    """The token's holder hands the job back: it shuts down, or another job gets its slot."""
    RECOVER = "recover"
    """The owner is dead, or does not know the job."""
    CANCEL = "cancel"
    """A client stops the job."""
    RETRY = "retry"
    """A job that has ended begins another epoch."""


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.QUEUED: {
        Event.CLAIM: State.RUNNING,
        Event.CANCEL: State.CANCELLED,
    },
    State.RUNNING: {
        Event.FINISH: State.SUCCEEDED,
        Event.BACK_OFF: State.QUEUED,
        Event.SUSPEND: State.QUEUED,
        Event.FAIL: State.FAILED,
        Event.REQUEUE: State.QUEUED,
        Event.RECOVER: State.QUEUED,
        Event.CANCEL: State.CANCELLED,
    },
    State.SUCCEEDED: {Event.RETRY: State.QUEUED},
    State.FAILED: {Event.RETRY: State.QUEUED},
    State.CANCELLED: {Event.RETRY: State.QUEUED},
}


def after(state: State, event: Event) -> State:
    """Return the state that an event leads to. Raises IllegalTransition, which names both."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"a job that is {state} does not take {event!r}") from None


LOSSES_BEFORE_ISOLATION = 2
"""Dead workers in a row, without a new segment, after which a job runs in a process of its own."""
LOSSES_BEFORE_FAILED = 4
"""Dead workers in a row, without a new segment, after which a job fails."""
