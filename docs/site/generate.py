"""Write the generated tables and drawings of the documentation.

    python -m docs.site.generate            write what changed
    python -m docs.site.generate --check    change nothing; exit 1 where a file is stale

A table stands in its page between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from docs.site import code_map, commands, diagrams, routes, tables

DOCS = Path(__file__).parents[1]
TABLES: dict[str, Callable[[], str]] = {
    "settings": tables.settings,
    "error tree": tables.error_tree,
    "error table": tables.errors,
    "gateway errors": tables.gateway_errors,
    "exit statuses": tables.exit_statuses,
    "metrics": tables.metrics,
    "transitions": tables.transitions,
    "commands": commands.commands,
    "routes": routes.routes,
    "code map": code_map.code_map,
}
DRAWINGS: dict[str, Callable[[], str]] = {
    "assets/shape.svg": diagrams.shape,
    "assets/job-states.svg": diagrams.job_states,
    "assets/journey-of-a-job.svg": diagrams.journey_of_a_job,
    "assets/journey-of-a-chunk.svg": diagrams.journey_of_a_chunk,
}
_BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated() -> Iterator[tuple[Path, str]]:
    """Each file with generated content, and the text that it should have."""
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text("utf-8")
        if _BLOCK.search(text):
            yield path, _BLOCK.sub(_filled, text)
    for name, draw in DRAWINGS.items():
        yield DOCS / name, draw()


def _filled(block: re.Match[str]) -> str:
    return f"{block[1]}\n{TABLES[block[2]]().strip()}\n\n{block[3]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if stale")
    check = parser.parse_args().check
    stale = False
    for path, wanted in generated():
        if path.exists() and path.read_text("utf-8") == wanted:
            continue
        stale = True
        if check:
            print(f"{path.relative_to(DOCS.parent)} is stale: run make docs", file=sys.stderr)
        else:
            path.write_text(wanted, "utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
