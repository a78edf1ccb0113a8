"""Log lines: nobody forges one, none is endless, and a full file makes room."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from speechfleet.observability import logs
from speechfleet.observability.logs import JsonFormatter, RepeatFilter, TextFormatter, rotate

FORGED = "x\n2026-11-28 12:00:00,000 INFO speechfleet.gateway [admin] POST /login 204"
HOSTILE = "\x1b]0;owned\x07\x9b2J\u202egnp.exe\u2028\r"


def record(message: object, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("ours", level, __file__, 1, message, (), None)
    made.__dict__.update(fields)
    return made


@pytest.mark.parametrize("text", [FORGED, HOSTILE], ids=["newline", "terminal"])
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_what_was_sent_cannot_forge_a_line(formatter: logging.Formatter, text: str) -> None:
    for made in (record(text, job="a"), record("plain", job=text)):
        line = formatter.format(made)
        assert len(line.splitlines()) == 1
        assert line.isprintable()


def test_json_stays_what_was_logged() -> None:
    line = json.loads(JsonFormatter().format(record(HOSTILE, job="namespace/ü", fields={"n": 1})))
    assert (line["message"], line["job"], line["n"]) == (HOSTILE, "namespace/ü", 1)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_line_has_a_limit(formatter: logging.Formatter) -> None:
    line = formatter.format(record("m" * 100_000, job="j" * 100_000))
    assert len(line) < 3000


def test_the_lines_of_a_trace_look_like_no_line_of_the_log() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        made = record("it failed", job="-")
        made.exc_info = (type(error), error, error.__traceback__)
    first, *trace = TextFormatter().format(made).splitlines()
    assert first.endswith("it failed")
    assert trace
    assert all(line.startswith("    ") for line in trace)


def test_what_repeats_without_end_is_held_back() -> None:
    now = 0.0
    repeats = RepeatFilter(lambda: now)

    def shown(count: int, message: str = "no descriptors", level: int = logging.ERROR) -> int:
        return sum(repeats.filter(record(message, level)) for _ in range(count))

    assert shown(10_000) == logs.REPEATS + 1
    assert shown(3, "something else") == 3
    assert shown(10_000, level=logging.INFO) == 10_000
    distinct = sum(shown(1, f"error {number}") for number in range(10_000))
    assert distinct <= logs.LOGGER_LINES
    now = logs.REPEAT_WINDOW_S
    assert shown(2) == 2


def test_a_large_log_is_moved_aside_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    with path.open("ab", buffering=0) as log:
        log.write(b"old\n" * 100)
        assert not rotate(path, limit=1000)
        assert rotate(path, limit=100)
        log.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "gateway.log.1").read_bytes() == b"old\n" * 100


def test_a_log_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert not rotate(tmp_path / "nothing.log")


def test_log_lines_carry_their_job(capsys: pytest.CaptureFixture[str]) -> None:
    kept = logging.getLogger().handlers[:], logging.getLogger().level
    token = logs.job.set("default/greeting")
    try:
        logs.to_stderr("INFO", "json")
        logging.getLogger("somebody.else").info("a line\nof %d", 2)
        logging.getLogger("ours").warning("of another", extra={"job": "default/other"})
    finally:
        logs.job.reset(token)
        logging.getLogger().handlers[:] = kept[0]
        logging.getLogger().setLevel(kept[1])
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["job"], first["message"]) == ("default/greeting", "a line\nof 2")
    assert (second["job"], second["level"]) == ("default/other", "WARNING")
