"""Speak the rows of a CSV file into a folder. Run it again to continue."""

import csv
from collections.abc import Iterator
from pathlib import Path

from speechfleet import Client

Path("lines.csv").write_text("id,text\ngreeting,Hello.\nfarewell,See you soon.\n", "utf-8")


def rows() -> Iterator[tuple[str, str]]:
    """Yield id and text of each row; any iterable will do, it is read lazily."""
    with Path("lines.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["id"], row["text"]


with Client.local() as fleet:
    batch = fleet.batch(rows(), model="espeak/espeak-ng", voice="en-us", out="speech")
    for entry in batch.results():  # as they end; each is in the manifest by now
        print(entry["id"], entry["state"], entry.get("path"))
    print(batch.summary)
