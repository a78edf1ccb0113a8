"""Corpora that tests write, and manifests that they read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def manifest(out: Path) -> dict[str, dict[str, Any]]:
    lines = (out / "manifest.jsonl").read_text("utf-8").splitlines()
    return {entry["id"]: entry for entry in map(json.loads, lines)}


def corpus(path: Path, texts: list[str], **fields: Any) -> Path:
    path.write_text(
        "".join(
            json.dumps({"id": f"{number:03}", "text": text, **fields}) + "\n"
            for number, text in enumerate(texts)
        )
    )
    return path
