"""Captions as text: SubRip, WebVTT, Advanced SubStation (ASS), JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from speechfleet.captions.cues import Cue, joined
from speechfleet.captions.units import Unit

CaptionForm = Literal["srt", "vtt", "ass", "json"]
FORMS: tuple[CaptionForm, ...] = get_args(CaptionForm)
MEDIA_TYPES: dict[CaptionForm, str] = {
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
    "json": "application/json",
}

_ASS_HEAD = """\
[Script Info]
ScriptType: v4.00+
WrapStyle: 2
PlayResX: 1280
PlayResY: 720

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, \
Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,48,&H00FFFFFF,&H00A0A0A0,&H00000000,&H64000000,0,0,0,0,100,100,0,0,1,2,1,\
2,60,60,50,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_ALMOST_NOTHING_S = 0.001


def write(form: CaptionForm, cues: Sequence[Cue], *, words: bool) -> str:
    """Return the cues as the text of a file. ``words``: with the time of each word within a cue.

    SubRip has no such times.
    """
    return _WRITERS[form](cues, words)


def _srt(cues: Sequence[Cue], words: bool) -> str:
    parts: list[str] = []
    for number, cue in enumerate(cues, 1):
        times = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
        parts.append(f"{number}\n{times}\n{_text(cue, _srt_line)}\n\n")
    return "".join(parts)


def _vtt(cues: Sequence[Cue], words: bool) -> str:
    """https://www.w3.org/TR/webvtt1/: a cue holds no blank line and no ``-->``, and times within
    it increase, after its start and before its end.
    """
    parts = ["WEBVTT\n\n"]
    for number, cue in enumerate(cues, 1):
        text = _vtt_words(cue) if words else _text(cue, _vtt_line)
        times = f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}"
        parts.append(f"{number}\n{times}\n{text}\n\n")
    return "".join(parts)


def _vtt_words(cue: Cue) -> str:
    latest = round(cue.start * 1000)
    last = round(cue.end * 1000)
    lines: list[str] = []
    for line in cue.lines:
        text = ""
        for i, unit in enumerate(line):
            blank = "" if unit.glued or not i else " "
            at = round(unit.start * 1000)
            tag = ""
            if latest < at < last:
                tag, latest = f"<{_clock(at / 1000, '.')}>", at
            text += blank + tag + _vtt_line(unit.text)
        lines.append(text)
    return "\n".join(lines)


def _ass(cues: Sequence[Cue], words: bool) -> str:
    lines = [_ASS_HEAD]
    for cue in cues:
        text = _ass_words(cue) if words else _text(cue, _ass_line, "\\N")
        times = f"{_ass_clock(cue.start)},{_ass_clock(cue.end)}"
        lines.append(f"Dialogue: 0,{times},Default,,0,0,0,,{text}\n")
    return "".join(lines)


def _ass_words(cue: Cue) -> str:
    """Write the words with ``\\k``: hundredths of a second until the next one is sung."""
    units = cue.units
    starts = [round(unit.start * 100) for unit in units]
    starts[:1] = [round(cue.start * 100)]
    ends = [*starts[1:], round(cue.end * 100)]
    tagged = iter(
        f"{{\\k{max(0, end - start)}}}{_ass_line(unit.text)}"
        for unit, start, end in zip(units, starts, ends, strict=True)
    )
    lines = []
    for line in cue.lines:
        text = ""
        for i, unit in enumerate(line):
            text += ("" if unit.glued or not i else " ") + next(tagged)
        lines.append(text)
    return "\\N".join(lines)


def _json(cues: Sequence[Cue], words: bool) -> str:
    fields = {"cues": [_fields(cue) for cue in cues]}
    return json.dumps(fields, ensure_ascii=False, indent=1) + "\n"


def _fields(cue: Cue) -> dict[str, Any]:
    units = cue.units
    return {
        "start": round(cue.start, 3),
        "end": round(cue.end, 3),
        "text": "\n".join(joined(line) for line in cue.lines),
        "text_start": units[0].text_start,
        "text_end": units[-1].text_end,
        "words": [_word_fields(unit) for unit in units],
    }


def _word_fields(unit: Unit) -> dict[str, Any]:
    return {
        "text": unit.text,
        "text_start": unit.text_start,
        "text_end": unit.text_end,
        "start": round(unit.start, 3),
        "end": round(unit.end, 3),
        "source": unit.source,
    }


_WRITERS: dict[CaptionForm, Callable[[Sequence[Cue], bool], str]] = {
    "srt": _srt,
    "vtt": _vtt,
    "ass": _ass,
    "json": _json,
}


def _text(cue: Cue, escape: Callable[[str], str], line_end: str = "\n") -> str:
    return line_end.join(escape(joined(line)) for line in cue.lines)


def _srt_line(text: str) -> str:
    return text.replace("-->", "→")


def _vtt_line(text: str) -> str:
    return text.replace("-->", "→").replace("&", "&amp;").replace("<", "&lt;")


def _ass_line(text: str) -> str:
    # Braces begin commands, and a backslash may too; nothing escapes them everywhere.
    return text.replace("\\", "⧵").replace("{", "(").replace("}", ")")


def _clock(seconds: float, decimal_mark: str) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, thousandths = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{decimal_mark}{thousandths:03}"


def _ass_clock(seconds: float) -> str:
    minutes, hundredths = divmod(round(seconds * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    whole, hundredths = divmod(hundredths, 100)
    return f"{hours}:{minutes:02}:{whole:02}.{hundredths:02}"
