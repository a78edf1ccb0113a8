"""The espeak-ng library, by ctypes.

It has ONE state a process: calls that overlap corrupt its heap. So everything that touches it
runs in the one thread of `run`, whose line is the lock, and a fair one. The library is loaded
there on first use, hence after any fork; a child that is forked later starts anew.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from speechfleet.errors import (
    MisconfiguredError,
    MissingExtra,
    ProviderUnavailable,
    UnknownVoice,
)
from speechfleet.library_thread import LibraryThread

Words = tuple[tuple[int, int, int], ...]
"""(start, end) in code points of the text, and the millisecond of the audio."""

Take = Callable[[bytes, Words], bool]
"""Takes s16le mono audio and the words that begin in it; False ends the synthesis."""

# speak_lib.h
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_BY_CHARACTER = 1
_EVENT_END, _EVENT_WORD = 0, 1
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "gap": 7}

_BUFFER_MS = 200
"""Milliseconds of audio between two callbacks, which hold up all else in the process."""
_PATH_LIMIT = 159
"""Bytes of the path of the data that espeak-ng has room for."""

_CONTROLS = {code: " " for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\n"}
"""\\x01 begins commands that change the voice, NUL would end the text."""


class EspeakVoice(NamedTuple):
    """``id``: what a request names. ``language``: a tag, which several voices may share."""

    id: str
    language: str
    name: str


# Japanese kanji are read as "Chinese letter"; Cherokee, Faroese and Karakalpak are silent, for
# want of a dictionary; xex is a voice for espeak's own tests.
_NOT_OFFERED = ("ja", "chr", "fo", "kaa", "xex")
# Where the tag that people write names no voice, or another than they mean.
_ALIASES = {
    tag: voice
    for voice, tags in {
        "en-us": "en en-ca",
        "en-gb": "en-uk en-au en-ie en-in en-nz en-za",
        "cmn": "zh zh-cn zh-sg zh-tw zh-hans zh-hant",
        "yue": "zh-hk zh-mo",
        "es-419": "es-ar es-bo es-cl es-co es-cr es-cu es-do es-ec es-gt es-hn es-ni es-pa es-pe "
        "es-pr es-py es-sv es-us es-uy es-ve",
        "fr": "fr-ca fr-lu",
        "ca": "ca-es",
        "vi": "vi-vn",
    }.items()
    for tag in tags.split()
}
_REGION = re.compile(r"[a-z]{2}|[a-z]{4}|\d{3}")
_VARIANT = re.compile(r"\w[\w ]*")


def require() -> None:
    """MissingExtra where the library is not installed; cheap, loads nothing."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise MissingExtra("espeak", "local")


@cache
def library() -> EspeakLibrary:
    """Return the process's library. Only inside `run`."""
    return EspeakLibrary()


run = LibraryThread("espeak", library.cache_clear).run
"""Call a function in the library's thread."""


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class EspeakLibrary:
    """Loaded and initialized. Every method must be called in the library's thread."""

    def __init__(self) -> None:
        require()
        import espeakng_loader

        self._data = _within_limit(Path(espeakng_loader.get_data_path()))
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self._lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self.sample_rate = int(
            self._lib.espeak_Initialize(
                _SYNCHRONOUS, _BUFFER_MS, os.fsencode(self._data), _DONT_EXIT
            )
        )
        if self.sample_rate <= 0:
            raise MisconfiguredError(f"espeak-ng cannot read its data in {self._data}")
        self.voices: list[EspeakVoice] = []
        self._files: dict[str, bytes] = {}
        aliases: dict[str, str] = {}
        for file, name, languages in self._list():
            voice = EspeakVoice(_voice_id(file), languages[0], name)
            if voice.id.partition("-")[0] in _NOT_OFFERED:
                continue
            self.voices.append(voice)
            self._files[voice.id] = file.encode()
            for language in languages:
                aliases.setdefault(language, voice.id)
        self._aliases = aliases | _ALIASES

    def _list(self) -> Iterator[tuple[str, str, list[str]]]:
        """(file, name, languages in lower case) of every voice, in the library's own order."""
        voices = self._lib.espeak_ListVoices(None)
        index = 0
        while voices[index]:
            voice = voices[index].contents
            languages = [tag.lower() for tag in _languages(voice.languages)]
            yield voice.identifier.decode(), voice.name.decode().strip(), languages
            index += 1

    def check_voice(self, voice: str) -> None:
        """Raise UnknownVoice with near matches where there is no such voice."""
        self._file(voice)

    def _file(self, voice: str) -> bytes:
        """Find the library's name of a voice such as ``en-us``, ``zh`` or ``en-us+f3``."""
        tag, plus, variant = voice.partition("+")
        tag = tag.strip().lower().replace("_", "-")
        found = tag if tag in self._files else self._aliases.get(tag) or self._of_region(tag)
        if found is None:
            raise UnknownVoice(voice, self._files)
        if plus and not self._has_variant(variant):
            known = sorted(file.name for file in self._variants.iterdir())
            raise UnknownVoice(voice, (f"{found}+{name}" for name in known))
        return self._files[found] + (plus + variant).encode()

    def _of_region(self, tag: str) -> str | None:
        """``de-at`` is ``de``, of which there is one; ``en-xx`` might be any English."""
        language, _, region = tag.partition("-")
        family = [voice for voice in self._files if voice.partition("-")[0] == language]
        is_plain = family == [language] or (region == language and language in family)
        return language if is_plain and _REGION.fullmatch(region) else None

    @property
    def _variants(self) -> Path:
        return self._data / "voices" / "!v"

    def _has_variant(self, name: str) -> bool:
        return bool(_VARIANT.fullmatch(name)) and (self._variants / name).is_file()

    def speak(self, text: str, voice: str, parameters: Mapping[str, int], take: Take) -> None:
        """Hand the audio of ``text`` to ``take``, in stretches of about 200 ms, as it is made.

        Raises UnknownVoice before any audio, and what ``take`` raises.
        """
        if self._lib.espeak_SetVoiceByName(self._file(voice)):
            raise ProviderUnavailable(f"espeak-ng cannot load its voice {voice!r}")
        for name, value in parameters.items():
            self._lib.espeak_SetParameter(PARAMETERS[name], value, 0)
        errors: list[BaseException] = []
        receive = _Callback(_receiver(take, len(text), errors))
        self._lib.espeak_SetSynthCallback(receive)
        data = text.translate(_CONTROLS).encode("utf-8", "replace") + b"\0"
        size = ctypes.c_size_t(len(data))
        status = self._lib.espeak_Synth(data, size, 0, _BY_CHARACTER, 0, _UTF8, None, None)
        if errors:
            raise errors[0]
        if status:
            raise ProviderUnavailable("espeak-ng failed", provider_code=str(status))


def _receiver(
    take: Take, length: int, errors: list[BaseException]
) -> Callable[[int | None, int, ctypes._Pointer[_Event]], int]:
    """Make a callback that keeps what ``take`` raises: ctypes would drop it."""

    def receive(samples: int | None, count: int, events: ctypes._Pointer[_Event]) -> int:
        try:
            audio = ctypes.string_at(samples, 2 * count) if samples else b""
            return 0 if take(audio, tuple(_words(events, length))) else 1
        except BaseException as error:  # noqa: BLE001 - raised again by `speak`
            errors.append(error)
            return 1

    return receive


def _words(events: ctypes._Pointer[_Event], length: int) -> Iterator[tuple[int, int, int]]:
    index, last = 0, -1
    while (event := events[index]).type != _EVENT_END:
        start = event.text_position - 1  # the library counts from 1
        # A word that is spelled out letter by letter has an event a letter.
        if event.type == _EVENT_WORD and last < start < length:
            yield start, min(start + event.length, length), event.audio_position
            last = start
        index += 1


def _languages(address: int) -> Iterator[str]:
    """Read a list of (a byte of priority, a string), ended by a priority of 0."""
    while ctypes.c_ubyte.from_address(address).value:
        tag = ctypes.string_at(address + 1)
        yield tag.decode()
        address += len(tag) + 2


def _voice_id(file: str) -> str:
    """Return the name of its file, which is unique; but that of British English is ``en``."""
    name = file.rpartition("/")[2].lower()
    return "en-gb" if name == "en" else name


def _within_limit(data: Path) -> Path:
    """Return the same folder by a path that espeak-ng has room for."""
    if len(os.fsencode(data)) <= _PATH_LIMIT:
        return data
    folder = tempfile.TemporaryDirectory(prefix="espeak")
    atexit.register(folder.cleanup)
    link = Path(folder.name) / data.name
    link.symlink_to(data, target_is_directory=True)
    return link
