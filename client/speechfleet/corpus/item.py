"""An item of a corpus, and what turns it into a job's request."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.jobs import Lane, Request, check_id
from speechfleet.tts import Msg

REQUEST_FIELDS = ("model", "voice", "format", "cache", "segments")
"""Fields of an item that are the request's own; every other one is an option of the provider."""
LONGEST_ID = 180
"""Characters of an item's id: its job's id is the batch's and its own, in 256."""
LONGEST_NAME = 230
"""Bytes of a file name without its extension and what a temporary one adds; disks take 255."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]|^\.|[. ]$')


@dataclass(frozen=True)
class Item:
    """One text of a corpus. ``place`` is where it stands, ``file:line``, for messages.

    ``fields``: what it asks for itself (`REQUEST_FIELDS` and the provider's options); the rest
    comes from the batch.
    """

    id: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    @cached_property
    def file_name(self) -> str:
        """Its id as a file name, without an extension: no two ids share one. InvalidRequest."""
        name = _UNSAFE.sub(lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), self.id)
        if len(name.encode()) > LONGEST_NAME:
            raise InvalidRequest(f"the id {self.id[:40]!r}... is too long for a file name")
        return name

    @property
    def disk_name(self) -> str:
        """The file name as those disks take it that tell no case and no forms of accents."""
        return unicodedata.normalize("NFC", self.file_name).casefold()

    def request(self, batch: str, order: Mapping[str, Any], max_text: int) -> Request:
        """The checked request of its job. Raises InvalidRequest, as the request does."""
        if len(check_id(self.id)) > LONGEST_ID:
            raise InvalidRequest(f"an item's id has at most {LONGEST_ID} characters")
        _ = self.file_name
        asked = {**order, **self.fields}
        known = {name: asked.pop(name) for name in REQUEST_FIELDS if name in asked}
        if not known.get("model"):
            raise InvalidRequest("it names no model, and none was given for the batch")
        for name, value in known.items():
            if not isinstance(value, bool if name == "cache" else str):
                raise InvalidRequest(f"its {name!r} is {value!r}")
        if known.get("segments") not in (None, "sentence", "paragraph"):
            raise InvalidRequest("its 'segments' is neither 'sentence' nor 'paragraph'")
        request = Request(
            text=self.text, options=asked, lane=Lane.BATCH, batch=batch, **known
        )  # fmt: skip
        request.check(max_text)
        return request


@dataclass(frozen=True)
class BadItem:
    """What stands in an item's place and is none; ``place`` is ``file:line``."""

    place: str
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


def derived_id(text: str, fields: Mapping[str, Any]) -> str:
    """The id of a text that has none: the same text with the same wishes is the same item."""
    wishes = "".join(f"\x1f{name}={fields[name]!r}" for name in sorted(fields))
    return hashlib.blake2b(f"{text}{wishes}".encode(), digest_size=10).hexdigest()


def as_item(value: Item | Msg | Mapping[str, Any] | tuple[str, str] | str, place: str) -> Item:
    """An item as programs write one: also a text, an (id, text), a Msg, or a mapping with
    ``text`` and any of ``id`` and the fields of a request. Raises InvalidRequest with its place.
    """
    try:
        match value:
            case Item():
                return value
            case str():
                return Item(derived_id(value, {}), value, {}, place)
            case (str(id), str(text)):
                return Item(id, text, {}, place)
            case Msg():
                return Item(value.id, value.text(), {}, place)
            case Mapping():
                return from_fields(dict(value), place)
    except SpeechFleetError as error:
        raise InvalidRequest(f"{place}: {error.message}", code=error.code) from error
    raise InvalidRequest(f"{place}: an item is a text, (id, text), a Msg or a mapping")


def from_fields(fields: dict[str, Any], place: str) -> Item:
    """An item of named fields; ``options`` may hold the provider's, ``error`` is passed over."""
    text, id = fields.pop("text", None), fields.pop("id", None)
    fields.pop("error", None)
    if not isinstance(text, str):
        raise InvalidRequest("there is no 'text'" if text is None else "its 'text' is no text")
    options = fields.pop("options", None) or {}
    if not isinstance(options, Mapping):
        raise InvalidRequest("its 'options' are no object")
    fields = {name: value for name, value in {**fields, **options}.items() if value is not None}
    if id is None or id == "":
        id = derived_id(text, fields)
    elif isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    elif not isinstance(id, str):
        raise InvalidRequest(f"its 'id' is {id!r}, neither text nor a whole number")
    return Item(id, text, fields, place)
