"""Write the bill of materials of the image: ``python deploy/sbom.py > sbom.json``.

CycloneDX 1.6, from `requirements.lock`: every package in the image with its version and hashes.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "deploy" / "requirements.lock"
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?:\s*;[^\\]*)?\s*\\?$")
_HASH = re.compile(r"^\s+--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> Iterator[dict[str, Any]]:
    """Yield a component for each package in the lock file."""
    component: dict[str, Any] = {}
    for line in lock.splitlines():
        if match := _REQUIREMENT.match(line):
            if component:
                yield component
            name, version = match[1].lower(), match[2]
            purl = f"pkg:pypi/{name}@{version}"
            component = {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "purl": purl,
                "hashes": [],
            }
        elif match := _HASH.match(line):
            component["hashes"].append({"alg": "SHA-256", "content": match[1]})
    if component:
        yield component


def bill(lock: str, version: str) -> dict[str, Any]:
    """Return the whole document."""
    ours = {"type": "application", "bom-ref": "speechfleet", "name": "speechfleet"}
    packages = list(components(lock))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**ours, "version": version}},
        "components": packages,
        "dependencies": [
            {"ref": "speechfleet", "dependsOn": [package["bom-ref"] for package in packages]}
        ],
    }


def main() -> None:
    """Print the document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    document = bill(LOCK.read_text(encoding="utf-8"), project["version"])
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
