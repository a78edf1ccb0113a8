"""A job: its request, its states and the one table of transitions.

    submit ─▶ QUEUED ──claim──▶ RUNNING ──finish──▶ SUCCEEDED ─┐
                ▲ ▲                │ │                          ├─retry─▶ QUEUED, next epoch
                │ └─requeue/recover┘ ├──fail─────▶ FAILED ──────┤
                └───back_off, park───┘                          │
              QUEUED, RUNNING ─────────cancel──▶ CANCELLED ─────┘

Each transition is one script in ``lua/``, so that it happens once or not at all; the scripts
are given `TRANSITIONS` and keep no second copy of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal
from urllib.parse import unquote

from speechfleet.errors import (
    EmptyText,
    IllegalId,
    IllegalText,
    IllegalTransition,
    InvalidRequest,
    NewerRecord,
    TextTooLong,
    UnknownFormat,
    UnknownModel,
)

RECORD_VERSION = 1
FORMATS = ("wav", "flac", "mp3", "opus", "aac", "pcm")


class State(StrEnum):
    QUEUED = "QUEUED"
    """Waiting for a worker, or for its next attempt."""
    RUNNING = "RUNNING"
    """Owned by exactly one execution, which alone holds the job's token."""
    SUCCEEDED = "SUCCEEDED"
    """All of the text is spoken and the audio is stored."""
    FAILED = "FAILED"
    """Given up; the record says why."""
    CANCELLED = "CANCELLED"
    """Stopped because somebody asked for it."""

    @property
    def terminal(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


class Event(StrEnum):
    CLAIM = "claim"
    """A worker takes the job and gets a token."""
    FINISH = "finish"
    """The token's holder has stored the audio."""
    BACK_OFF = "back_off"
    """The attempt failed; another one is due later."""
    PARK = "park"
    """What it needs is busy: another job speaks the same text, or the account's limit is reached.
    It waits without a slot, and is woken."""
    FAIL = "fail"
    """No further attempt."""
    REQUEUE = "requeue"
    """The token's holder hands the job back (it is shutting down)."""
    RECOVER = "recover"
    """Somebody found the owner dead."""
    CANCEL = "cancel"
    RETRY = "retry"
    """A terminal job begins another epoch."""


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.QUEUED: {
        Event.CLAIM: State.RUNNING,
        Event.CANCEL: State.CANCELLED,
    },
    State.RUNNING: {
        Event.FINISH: State.SUCCEEDED,
        Event.BACK_OFF: State.QUEUED,
        Event.PARK: State.QUEUED,
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
    """The state that ``event`` leads to; IllegalTransition names both where there is none."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"a job that is {state} does not take {event!r}") from None


class Lane(StrEnum):
    """What a job waits in line with. The queue is ``speechfleet.1.<lane>.<provider>``."""

    SESSION = "session"
    LIVE = "live"
    BATCH = "batch"


SegmentMode = Literal["sentence", "paragraph"]
Wire = Literal["delta", "accumulated"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


_CONTROL_BYTES = bytes(code for code in (*range(32), 127) if chr(code) not in "\t\n\r")


def _unspeakable(text: str) -> re.Match[str] | None:
    """The first control character or lone surrogate. Of a long text bytes are checked, which
    takes a tenth of the time."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return _UNSPEAKABLE.search(text)
    clean = len(encoded.translate(None, _CONTROL_BYTES)) == len(encoded)
    return None if clean else _UNSPEAKABLE.search(text)


def check_id(id: str) -> str:
    """The id itself, if it is a legal msg.id (or namespace); else IllegalId."""
    if not isinstance(id, str) or not 1 <= len(id) <= 256 or _CONTROL.search(id):
        raise IllegalId(
            "an id has 1 to 256 characters, none of them a control character; "
            f"this one is {id[:40]!r}" + ("..." if len(str(id)) > 40 else "")
        )
    return id


def check_text(text: str, limit: int, setting: str) -> None:
    """Raises TextTooLong, naming the setting, and IllegalText."""
    if len(text) > limit:
        raise TextTooLong(
            f"the text has {len(text):,} characters, the fleet takes {limit:,} "
            f"({setting}); split it into several messages"
        )
    if bad := _unspeakable(text):
        raise IllegalText(
            f"character U+{ord(bad[0]):04X} at position {bad.start()} cannot be spoken; "
            "remove control characters and lone surrogates"
        )


@dataclass(frozen=True)
class Request:
    """What a job is asked to do. Equal `digest`: the same request.

    ``options`` are the provider's own (JSON values). ``live``: publish audio to the stream
    while it is made; None means every lane but ``batch``. ``wire="accumulated"`` repeats all
    the audio so far in every entry (at most 4 MB).
    """

    text: str
    model: str
    voice: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    format: str = "wav"
    lane: Lane = Lane.LIVE
    segments: SegmentMode | None = None
    live: bool | None = None
    wire: Wire = "delta"
    cache: bool = True
    name: str = ""
    role: str = "assistant"
    open: bool = False
    """More text may come: a session that nobody has completed."""
    trace: str = ""
    """The W3C traceparent of its submit; shapes nothing that is heard."""
    batch: str = ""
    """The batch that the job is an item of; "" for none."""

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]

    @property
    def segment_mode(self) -> SegmentMode:
        return self.segments or ("paragraph" if self.lane is Lane.BATCH else "sentence")

    @property
    def published(self) -> bool:
        """Whether audio goes through Redis."""
        return self.lane is not Lane.BATCH if self.live is None else self.live

    @property
    def digest(self) -> str:
        """Of all that shapes what is heard: text, model, voice, options, format, wire.

        Not the text of a session: it is the same one while its text grows.
        """
        text = "" if self.lane is Lane.SESSION else self.text
        parts = (text, self.model, self.voice, self.options_json, self.format, self.wire)
        return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    @property
    def options_json(self) -> str:
        if not self.options:
            return "{}"
        return json.dumps(self.options, sort_keys=True, separators=(",", ":"))

    def check(self, max_text: int) -> None:
        """Raise what is wrong with the request, as far as it shows without the provider."""
        if not self.open:
            if not self.text.strip():
                raise EmptyText("there is nothing to say: the text is empty or white space")
            check_text(self.text, max_text, "SPEECHFLEET_MAX_TEXT")
        for name in ("model", "voice", "name"):
            if _CONTROL.search(value := getattr(self, name)):
                raise InvalidRequest(f"the {name} holds a control character: {value[:40]!r}")
        provider, slash, model = self.model.partition("/")
        if not (provider and slash and model):
            raise UnknownModel(self.model, hint="(a model is named provider/model)")
        if self.format not in FORMATS:
            raise UnknownFormat(self.format, FORMATS)
        try:
            self.options_json.encode()
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"the options must be JSON values: {error}") from None


@dataclass(frozen=True)
class Segment:
    """A finished segment of a job: where its audio and its text lie, and under which hash.

    Audio offsets are bytes of the job's stream; [start, end) includes the silence that follows
    the segment. Text offsets are code points of the submitted text.
    """

    index: int
    start: int
    end: int
    text_start: int
    text_end: int
    hash: str
    request_id: str = ""
    """The provider's own id of the call, for its support desk; "" for what was cached."""
    entry: str = ""
    """Id of its entry in the stream: what lies before it may be trimmed once it is old."""

    def encode(self) -> str:
        """Without ``entry``, which is known once the segment is written."""
        place = [self.index, self.start, self.end, self.text_start, self.text_end]
        return json.dumps([*place, self.hash, self.request_id], separators=(",", ":"))

    @classmethod
    def decode(cls, data: bytes | str) -> Segment:
        return cls(*json.loads(data))


@dataclass(frozen=True)
class Record:
    """What Redis knows of a job. Times are the server's, in Unix milliseconds."""

    namespace: str
    id: str
    fields: Mapping[str, str]

    @classmethod
    def decode(cls, namespace: str, id: str, raw: Mapping[bytes, bytes]) -> Record:
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        if int(fields.get("v", "1")) > RECORD_VERSION:
            raise NewerRecord(
                f"job {id!r} was written by a newer speechfleet (record version {fields['v']}, "
                f"this one reads {RECORD_VERSION}); upgrade this client or worker"
            )
        return cls(namespace, id, fields)

    def _int(self, name: str) -> int:
        return int(self.fields.get(name) or 0)

    @property
    def state(self) -> State:
        return State(self.fields["state"])

    @property
    def epoch(self) -> int:
        return self._int("epoch")

    @property
    def sequence(self) -> int:
        return self._int("seq")

    @property
    def token(self) -> str:
        return self.fields.get("token", "")

    @property
    def boot(self) -> str:
        return self.fields.get("boot", "")

    @property
    def queue(self) -> str:
        return self.fields.get("queue", "")

    @property
    def route(self) -> str:
        """The routing key of the worker that holds a session; "" where none does."""
        return self.fields.get("route", "")

    @property
    def audio(self) -> int:
        """Bytes of audio that are published (or, unpublished, stored) so far."""
        return self._int("audio")

    @property
    def sample_rate(self) -> int:
        return self._int("rate")

    @property
    def claims(self) -> int:
        return self._int("claims")

    @property
    def attempts(self) -> int:
        return self._int("attempts")

    @property
    def losses(self) -> int:
        return self._int("losses")

    @property
    def alone(self) -> bool:
        """Too many of its workers died: it runs in a process of its own."""
        return self._int("streak") >= LOSSES_BEFORE_ALONE

    @property
    def object(self) -> str:
        return self.fields.get("object", "")

    @property
    def usage(self) -> dict[str, float]:
        """characters, billed, cached, tokens_in, tokens_out, calls; seconds of audio."""
        return in_seconds(self.sums)

    @property
    def sums(self) -> dict[str, int]:
        """Usage in whole numbers, as Redis adds it up."""
        mark = "usage."
        return {k.removeprefix(mark): int(v) for k, v in self.fields.items() if k.startswith(mark)}

    @property
    def story(self) -> list[tuple[int, str, str]]:
        """(milliseconds, event, detail) of every transition, oldest first."""
        lines = (line.split(" ", 2) for line in self.fields.get("story", "").splitlines())
        return [(int(at), event, detail) for at, event, detail in lines]

    @cached_property
    def request(self) -> Request:
        get = self.fields.get
        live = get("live")
        return Request(
            text=get("text", ""),
            model=self.fields["model"],
            voice=get("voice", ""),
            options=json.loads(get("options", "{}")),
            format=get("format", "wav"),
            lane=Lane(get("lane", "live")),
            segments=get("cut") or None,  # type: ignore[arg-type]  # written by Request only
            live=None if live is None else live == "1",
            wire="accumulated" if get("wire") == "accumulated" else "delta",
            cache=get("cache", "1") == "1",
            name=get("name", ""),
            role=get("role", "assistant"),
            open=get("open") == "1",
            trace=get("trace", ""),
            batch=unquote(get("batch", "")),
        )


def in_seconds(usage: Mapping[str, int]) -> dict[str, float]:
    """Usage as people read it: Redis sums whole milliseconds of audio."""
    return {
        ("seconds" if name == "audio_ms" else name): (
            value / 1000 if name == "audio_ms" else value
        )
        for name, value in usage.items()
    }


LOSSES_BEFORE_ALONE = 2
LOSSES_BEFORE_FAILED = 4
"""Lost workers in a row without a new segment in between."""
