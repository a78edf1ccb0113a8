"""What the README says is there, is there."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from speechfleet.chunks import ENTRIES
from speechfleet.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("field", Settings.model_fields.items(), ids=lambda field: field[0])
def test_every_setting_is_documented_with_its_default(field: tuple[str, FieldInfo]) -> None:
    name, info = field
    rows = [line for line in README.splitlines() if f"`SPEECHFLEET_{name.upper()}`" in line]
    assert rows, name
    if isinstance(info.default, int | float) and not isinstance(info.default, bool):
        assert f"{info.default:g}" in rows[0] or str(int(info.default)) in rows[0]


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_entry_of_the_stream_is_documented_with_its_fields(kind: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{kind}`"))
    for name in (field.name for field in fields(ENTRIES[kind])):
        assert name in row


def test_every_path_of_the_map_exists() -> None:
    tree = README.split("## The code")[1].split("```")[1]
    base = ROOT
    for line in tree.splitlines():
        if match := re.match(r"(\w\S*/) ", line):
            base = ROOT / match[1]
            assert base.is_dir(), base
            continue
        for name in re.findall(r"(?<=\s)(\w+(?:\.py|/))(?=\s|$)", line):
            assert (base / name).exists(), base / name


def test_programs_compile() -> None:
    programs = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert programs
    for program in programs:
        compile(program, "README.md", "exec")
