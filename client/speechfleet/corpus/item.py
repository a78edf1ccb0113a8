"""Describe a text of a corpus and the request that it becomes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from speechfleet.audio.file_names import EXTENSIONS
from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.json_numbers import is_whole_number
from speechfleet.request import Lane, Request, check_id
from speechfleet.spoken_form import SPOKEN_FORM_FIELDS, take_spoken_form
from speechfleet.tts import Msg

REQUEST_FIELDS = (
    "model",
    "voice",
    "format",
    "cache",
    "segments",
    "language",
    *SPOKEN_FORM_FIELDS,
)
"""Fields of an item that belong to the request; every other one is an option of the provider."""
LONGEST_ID = 180
"""Characters of an item's id: the job's id joins the batch's and the item's, in 256."""
LONGEST_NAME = 230
"""Bytes of a file name without extension and temporary suffix; file systems allow 255."""
SHOWN_ID = 60
"""Characters of an id that a message quotes."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]|^\.|[. ]$')
_WINDOWS_DEVICE = re.compile(
    r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?= *(?:\.|$))"
)
_SPEAKABLE = re.compile(r"[^\W_]")
_PAGE_BREAKS = str.maketrans("\x0b\x0c", "\n\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Item:
    """Hold one text of a corpus, with what it asks for beside the batch's own settings.

    ``fields``: request fields (`REQUEST_FIELDS`) and options of the provider. ``place``: where
    the item stands, ``file:line``, for messages. ``extra``: fields of its file that may or may
    not be options; `Corpus` decides by the provider.
    """

    id: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def file_name(self) -> str:
        """Return the id as a file name without extension, unique for each id.

        Raises InvalidRequest where it is too long.
        """
        name = _UNSAFE.sub(lambda match: _percent(match[0]), self.id)
        if _WINDOWS_DEVICE.match(name):
            name = _percent(name[0]) + name[1:]
        if len(name.encode()) > LONGEST_NAME:
            raise InvalidRequest(f"the id {self.id[:40]!r}... is too long for a file name")
        return name

    @property
    def disk_name(self) -> str:
        """Return the file name as a disk compares it that ignores case and forms of accents."""
        return unicodedata.normalize("NFC", self.file_name).casefold()

    def request(self, batch: str, order: Mapping[str, Any], max_text: int) -> Request:
        """Return the checked request of the item's job. Raises InvalidRequest."""
        self.check_id()
        asked = {**order, **self.fields}
        known = take_request_fields(asked)
        if not known.get("model"):
            raise InvalidRequest("it names no model, and none was given for the batch")
        text = self.text.translate(_PAGE_BREAKS)
        form = take_spoken_form(known, text)
        for name, value in known.items():
            if not isinstance(value, bool if name == "cache" else str):
                raise InvalidRequest(f"its {name!r} is {value!r}")
        if known.get("segments") not in (None, "sentence", "paragraph"):
            raise InvalidRequest("its 'segments' is neither 'sentence' nor 'paragraph'")
        request = Request(
            text=text, form=form, options=asked, lane=Lane.BATCH, batch=batch, **known
        )
        request.check(max_text)
        return request

    @property
    def is_speakable(self) -> bool:
        """Tell if the text holds a letter or a digit; providers speak nothing else."""
        return _SPEAKABLE.search(self.text) is not None

    def check_id(self) -> None:
        """Raise InvalidRequest where the id cannot be a job's id or a file name."""
        if len(check_id(self.id)) > LONGEST_ID:
            raise InvalidRequest(f"an item's id has at most {LONGEST_ID} characters")
        _ = self.file_name


@dataclass(frozen=True)
class BadItem:
    """Name a place in a corpus where an item should be, and the reason why there is none."""

    place: str
    why: str

    def __str__(self) -> str:
        return visible(f"{self.place}: {self.why}")


def visible(text: str) -> str:
    """Escape control characters and line ends, so that a text takes one line of a terminal."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def derived_id(text: str, fields: Mapping[str, Any]) -> str:
    """Return the id of a text without one: equal texts with equal fields are one item."""
    wishes = "".join(f"\x1f{name}={fields[name]!r}" for name in sorted(fields))
    return hashlib.blake2b(f"{text}{wishes}".encode(), digest_size=10).hexdigest()


def as_item(value: Item | Msg | Mapping[str, Any] | tuple[str, str] | str, place: str) -> Item:
    """Make an item of what a program gives: a text, (id, text), a Msg, a mapping, an Item.

    A mapping has ``text`` and any of ``id``, the fields of a request and the provider's
    options. Raises InvalidRequest with the place.
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
                item = from_fields(dict(value), place)
                return with_id(item, {**item.fields, **item.extra})
    except SpeechFleetError as error:
        raise InvalidRequest(f"{place}: {error.message}", code=error.code) from error
    raise InvalidRequest(f"{place}: an item is a text, (id, text), a Msg or a mapping")


def from_fields(fields: dict[str, Any], place: str) -> Item:
    """Make an item of named fields; its id stays "" where none is among them.

    ``options`` may hold the provider's options; ``error`` (of errors.jsonl) is ignored. Fields
    that are neither a request's nor in ``options`` become ``extra``.
    """
    text, id = fields.pop("text", None), fields.pop("id", None)
    fields.pop("error", None)
    if not isinstance(text, str):
        raise InvalidRequest("there is no 'text'" if text is None else "its 'text' is no text")
    options = fields.pop("options", None) or {}
    if not isinstance(options, Mapping):
        raise InvalidRequest("its 'options' are no object")
    named = {name: value for name, value in fields.items() if value is not None}
    asked = take_request_fields(named)
    asked |= {name: value for name, value in options.items() if value is not None}
    return Item(_as_id(id), text, asked, place, named)


def take_request_fields(fields: MutableMapping[str, Any]) -> dict[str, Any]:
    """Take the `REQUEST_FIELDS` out of ``fields``, and return them."""
    return {name: fields.pop(name) for name in tuple(fields) if name in REQUEST_FIELDS}


def with_id(item: Item, fields: Mapping[str, Any]) -> Item:
    """Return the item with all its fields decided, and with an id of its own."""
    return Item(item.id or derived_id(item.text, fields), item.text, fields, item.place)


def stem_of(path: str) -> str:
    """Return the id that a path to an audio or text file gives: its name without extension."""
    name = PurePath(path.strip().replace("\\", "/")).name
    base, dot, extension = name.rpartition(".")
    return base if dot and base and extension.lower() in FILE_EXTENSIONS else name


FILE_EXTENSIONS = {extension.removeprefix(".") for extension in EXTENSIONS} | {
    "m4a", "txt", "npy", "pt", "lab",
}  # fmt: skip
"""Extensions that `stem_of` removes: "v1.2" is an id, "v1.wav" a file."""


def _as_id(id: object) -> str:
    if id is None:
        return ""
    if is_whole_number(id):
        return str(id)
    if not isinstance(id, str):
        raise InvalidRequest(f"its 'id' is {id!r}, neither text nor a whole number")
    return id


def _percent(characters: str) -> str:
    return "".join(f"%{byte:02X}" for byte in characters.encode())
