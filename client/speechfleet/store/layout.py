"""The paths of objects in the store. Nobody else builds or takes apart such a path.

What is not plain in a name is escaped as ``~3A``, not as ``%3A``: a path in a link would have
its percent signs escaped once more, and could not be opened as it is written there.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from speechfleet.names import encode

MAX_NAME_BYTES = 200
"""Bytes of one part of a path; file systems stop at 255, and a suffix may be added."""
_KEPT_BYTES = 150
"""Bytes of a longer name that stay readable before its hash."""


def objects_of(namespace: str, id: str) -> str:
    """Return the prefix of all audio objects of one job."""
    return f"audio/{_path(namespace)}/{_path(id)}/"


def audio_object(namespace: str, id: str, token: str, extension: str) -> str:
    """Return the path of the audio that the holder of ``token`` (``boot:claim``) stores."""
    name = _escape(token.replace(":", "-"))
    return f"{objects_of(namespace, id)}{name}.{extension}"


def timeline_object(audio: str) -> str:
    """Return the path of the timeline of a job. A sweep that keeps the audio keeps it, too."""
    return f"{audio}.timeline"


def segment_object(namespace: str, hash: str) -> str:
    """Return the path of a stored segment."""
    return f"segments/{_path(namespace)}/{hash[:2]}/{hash}"


def words_object(namespace: str, hash: str) -> str:
    """Return the path of the words of a stored segment that were found after it was stored."""
    return f"{segment_object(namespace, hash)}.words"


def objects_of_batch(namespace: str, batch: str) -> str:
    """Return the prefix of corpus and manifest of a detached batch; its audio lies elsewhere."""
    return f"batches/{_path(namespace)}/{_path(batch)}/"


def corpus_object(namespace: str, batch: str, digest: str) -> str:
    """Return the path of the items of a detached batch, a line each."""
    return f"{objects_of_batch(namespace, batch)}corpus-{digest}.jsonl"


def captions_object(namespace: str, batch: str, item: str, form: str) -> str:
    """Return the path of the captions of an item of a detached batch."""
    return f"{objects_of_batch(namespace, batch)}captions/{_path(item)}.{form}"


def manifest_object(namespace: str, batch: str, part: str) -> str:
    """Return the path of a part of a detached batch's manifest."""
    return f"{manifest_parts(namespace, batch)}{part}.jsonl"


def manifest_parts(namespace: str, batch: str) -> str:
    """Return the prefix of all parts of a detached batch's manifest."""
    return f"{objects_of_batch(namespace, batch)}manifest/"


def rejected_object(namespace: str, batch: str) -> str:
    """Return the path of the lines of a batch's input that were not submitted."""
    return f"{objects_of_batch(namespace, batch)}rejected.jsonl"


def prefixes_of(namespace: str) -> tuple[str, ...]:
    """Return the prefixes of all that a namespace has in the store."""
    kinds = ("audio", "segments", "batches", "files")
    return tuple(f"{kind}/{_path(namespace)}/" for kind in kinds)


def file_object(namespace: str, id: str) -> str:
    """Return the path of the content of a client's file."""
    return f"files/{_path(namespace)}/{_path(id)}"


@lru_cache(maxsize=1024)  # a job writes several paths
def _path(part: str) -> str:
    """Escape a name, shorten it, and make it neither ``.`` nor ``..``.

    256 characters of a name can be 3 kB when escaped.
    """
    safe = _escape(part).replace(".", "~2E") if set(part) == {"."} else _escape(part)
    if len(safe) <= MAX_NAME_BYTES:
        return safe
    digest = hashlib.blake2b(part.encode(), digest_size=16).hexdigest()
    return f"{safe[:_KEPT_BYTES]}~~{digest}"


def _escape(part: str) -> str:
    """Escape a name to letters, digits and ``_.-~``; different names stay different."""
    return encode(part).replace("~", "%7E").replace("%", "~")
