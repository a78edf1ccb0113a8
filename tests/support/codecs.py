"""A PyAV that lacks codecs, as one that was built from source may."""

from __future__ import annotations

import av
import pytest

from speechfleet.audio.formats import FORMATS


def remove_codec(monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    """Take the codec of one format away from this process."""
    find = av.Codec

    def missing(name: str, mode: str = "r") -> av.Codec:
        if name == FORMATS[format].codec:
            raise av.codec.codec.UnknownCodecError(name)
        return find(name, mode)  # type: ignore[arg-type]  # "r" or "w"

    monkeypatch.setattr(av, "Codec", missing)
