"""Every program of the documentation does what it says, on a fleet that ``up`` brings."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from speechfleet.audio import wav
from speechfleet_worker.testing.openai_server import OpenAIServer
from tests.support.documents import DOCS, EXAMPLES, README, blocks, page

FOLDER = DOCS / "examples"
GATEWAY_OF_THE_GUIDE = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Fleet:
    """The output of ``speechfleet up``, and the environment of one of its users."""

    lines: dict[str, str]
    environ: dict[str, str]

    def run(self, *command: str | Path, folder: Path, **environ: str) -> str:
        """The standard output of a program that must succeed."""
        return run(*command, folder=folder, environ={**self.environ, **environ})


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    home = tmp_path_factory.mktemp("home")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(FOLDER),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SPEECHFLEET_PROVIDERS": "beep=own_provider:BeepModel",
    }
    with up(environ) as lines:
        yield Fleet(lines, environ)


@contextmanager
def up(environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """``speechfleet up`` with a gateway; the lines that it prints, by their first word."""
    command = [sys.executable, "-m", "speechfleet.cli", "up", "--gateway", "0"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = {}
            for line in process.stdout:
                if line == "ready\n":
                    break
                name, value = _parts(line)
                lines[name] = value
            else:
                pytest.fail("`speechfleet up` ended before it was ready")
            yield lines
        finally:
            process.terminate()
    assert process.wait(timeout=120) == 0


def _parts(line: str) -> tuple[str, str]:
    """Name and value of ``export NAME=value``, ``NAME=value`` or ``gateway URL``."""
    match = re.fullmatch(r"(?:export )?(\w+)[= ](.*)\n", line)
    assert match is not None, line
    return match[1], match[2].strip("'")


def run(*command: str | Path, folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_every_example_is_run() -> None:
    folder = Path(__file__).parents[1]
    tests = "".join(path.read_text("utf-8") for path in folder.rglob("test_*.py"))
    assert [path.name for path in EXAMPLES if path.stem not in tests] == []


def test_say_writes_a_file(fleet: Fleet, tmp_path: Path) -> None:
    output = fleet.run(sys.executable, FOLDER / "say.py", folder=tmp_path)
    assert "hello.wav" in output
    assert wav.decode((tmp_path / "hello.wav").read_bytes()).pcm


def test_the_program_of_the_readme(fleet: Fleet, tmp_path: Path) -> None:
    (program,) = blocks(README.read_text("utf-8"), "python")
    assert len(program.splitlines()) <= 10
    assert "bytes so far" in fleet.run(*python(program), folder=tmp_path)
    assert wav.decode((tmp_path / "hello.wav").read_bytes()).pcm


def test_the_commands_of_the_readme(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("id,text\none,First.\ntwo,Second.\n", "utf-8")
    (commands,) = [
        block for block in blocks(README.read_text("utf-8"), "shell") if "doctor" in block
    ]
    lines = [line for line in commands.splitlines() if " up " not in line]
    assert len(lines) == 9
    program = f"{sys.executable} -m speechfleet.cli"
    for line in lines:
        command = line.replace("some-llm", "echo One. Two.").replace("speechfleet", program, 1)
        fleet.run("bash", "-euo", "pipefail", "-c", command, folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"hello.mp3", "hello.wav", "answer.wav"}
    assert len(list((tmp_path / "speech" / "wavs").iterdir())) == 2


def test_a_stream_is_followed_and_spoken_once(fleet: Fleet, tmp_path: Path) -> None:
    program = FOLDER / "live_stream.py"
    assert len(program.read_text("utf-8").splitlines()) < 30
    *chunks, first, again = fleet.run(sys.executable, program, folder=tmp_path).splitlines()
    sizes = [int(line.split()[0]) for line in chunks]
    assert sizes == sorted(sizes)
    assert "audio/wav" in first
    assert "SUCCEEDED" in again
    assert "'calls': 1" in again or "'calls': 2" in again


def test_a_session_speaks_while_the_text_is_written(fleet: Fleet, tmp_path: Path) -> None:
    output = fleet.run(sys.executable, FOLDER / "session.py", folder=tmp_path)
    assert re.search(r"\d s so far", output)
    assert wav.decode((tmp_path / "answer.wav").read_bytes()).pcm


@pytest.mark.parametrize("name", ["livekit_phone", "pipecat_phone"])
def test_an_agent_answers_a_call(fleet: Fleet, tmp_path: Path, name: str) -> None:
    espeak = {"SPEECHFLEET_DEFAULT_MODEL": "espeak/espeak-ng"}  # it need not be loaded first
    program = FOLDER / f"{name}.py"
    output = fleet.run(sys.executable, program, "When do you open?", folder=tmp_path, **espeak)
    heard = wav.decode((tmp_path / "answer.wav").read_bytes())
    assert heard.sample_rate == 8000
    assert len(heard.pcm) > 2 * 8000, "more than a second"
    assert re.search(r"answer.wav: \d\.\d s", output)


@pytest.mark.parametrize("name", ["livekit_phone", "pipecat_phone"])
def test_a_call_is_answered_where_no_fleet_runs(tmp_path: Path, name: str) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "SPEECHFLEET_DEFAULT_MODEL": "espeak/espeak-ng",
    }
    run(sys.executable, FOLDER / f"{name}.py", folder=tmp_path, environ=environ)
    heard = wav.decode((tmp_path / "answer.wav").read_bytes())
    assert len(heard.pcm) > 2 * 8000, "more than a second"


def test_a_batch_fills_a_folder_and_continues(fleet: Fleet, tmp_path: Path) -> None:
    first = fleet.run(sys.executable, FOLDER / "batch_csv.py", folder=tmp_path)
    assert first.count("SUCCEEDED") == 2
    names = {path.name for path in (tmp_path / "speech" / "wavs").iterdir()}
    assert names == {"greeting.wav", "farewell.wav"}
    again = fleet.run(sys.executable, FOLDER / "batch_csv.py", folder=tmp_path)
    assert again.count("SUCCEEDED") == 0


def test_a_provider_of_ones_own(fleet: Fleet, tmp_path: Path) -> None:
    assert len((FOLDER / "own_provider.py").read_text("utf-8").splitlines()) <= 30
    command = re.search(r"speechfleet (say .*)\n", page("guides/own-provider.md"))
    assert command is not None
    words = shlex.split(command[1])
    fleet.run(sys.executable, "-m", "speechfleet.cli", *words, folder=tmp_path)
    beeps = wav.decode((tmp_path / "beep.wav").read_bytes())
    assert (beeps.sample_rate, len(beeps.pcm)) == (24_000, 3 * 4800)


def test_a_stream_is_read_by_redis_alone(fleet: Fleet, tmp_path: Path) -> None:
    say = [sys.executable, "-m", "speechfleet.cli", "say", "One two.", "--model", "beep/any"]
    fleet.run(*say, "--id", "raw/one", folder=tmp_path)
    program = FOLDER / "raw_redis_reader.py"
    url = fleet.lines["SPEECHFLEET_REDIS_URL"]
    output = fleet.run(
        sys.executable, program, "raw/one", "hello.pcm", folder=tmp_path, SPEECHFLEET_REDIS_URL=url
    )
    assert output.startswith("finished: 9600 bytes")
    assert len((tmp_path / "hello.pcm").read_bytes()) == 9600


def test_over_http(fleet: Fleet, tmp_path: Path) -> None:
    """The guide's curl, then the program with OpenAI's package."""
    (curl,) = [block for block in blocks(page("guides/http.md"), "shell") if "hello.mp3" in block]
    program = (FOLDER / "openai_client.py").read_text("utf-8")
    for words in (shlex.split(curl.replace("\\\n", "")), python(program)):
        served = [word.replace(GATEWAY_OF_THE_GUIDE, fleet.lines["gateway"]) for word in words]
        fleet.run(*served, folder=tmp_path)
    with av.open(tmp_path / "hello.mp3") as file:
        assert file.format.name == "mp3"
        assert file.streams.audio[0].sample_rate == 24_000
    assert wav.decode((tmp_path / "hello.wav").read_bytes()).sample_rate == 24_000


def test_a_batch_over_http(fleet: Fleet, tmp_path: Path) -> None:
    program = (FOLDER / "openai_batch.py").read_text("utf-8")
    program = program.replace(GATEWAY_OF_THE_GUIDE, fleet.lines["gateway"])
    output = fleet.run(*python(program), folder=tmp_path)
    assert len(output.splitlines()) == 2
    for name in ("greeting", "farewell"):
        assert wav.decode((tmp_path / f"{name}.wav").read_bytes()).pcm


@pytest.mark.parametrize("name", ["text_socket", "realtime_client"])
def test_over_a_websocket(fleet: Fleet, tmp_path: Path, name: str) -> None:
    program = (FOLDER / f"{name}.py").read_text("utf-8")
    served, here = fleet.lines["gateway"], GATEWAY_OF_THE_GUIDE
    for scheme in ("http", "ws"):
        program = program.replace(here.replace("http", scheme), served.replace("http", scheme))
    output = fleet.run(*python(program), folder=tmp_path)
    [audio] = tmp_path.glob("*.wav")
    heard = wav.decode(audio.read_bytes())
    assert output.startswith(f"{len(heard.pcm) / 2 / heard.sample_rate:.1f} s")


ASK_THE_APP = """
from fastapi.testclient import TestClient
from fastapi_app import app

with TestClient(app) as client:
    answer = client.get("/speech", params={"text": "Hello from a web app."})
    assert answer.status_code == 200, answer.text
    assert len(answer.content) > 10_000, len(answer.content)
    assert client.get("/speech", params={"text": " "}).json()["detail"]["code"] == "empty_text"
"""


def test_a_web_app_streams_speech(fleet: Fleet, tmp_path: Path) -> None:
    fleet.run(*python(ASK_THE_APP), folder=tmp_path)


def test_tasks_of_a_celery_app_speak(fleet: Fleet, tmp_path: Path) -> None:
    """In children of a prefork pool; the same issue is spoken once."""
    broker = fleet.lines["SPEECHFLEET_REDIS_URL"].replace("unix://", "redis+socket://", 1)
    database = re.sub(r"\?.*|$", "?virtual_host=1", broker, count=1)
    environ = {**fleet.environ, "CELERY_BROKER_URL": database}
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker"]
    command += ["--pool", "prefork", "--concurrency", "1", "--loglevel", "WARNING"]
    ask = """
from celery_app import speak

first, again = (speak.delay("issue-1", "The news.").get(timeout=120) for _ in range(2))
assert first == again, (first, again)
print(first)
"""
    with subprocess.Popen(command, cwd=tmp_path, env=environ) as worker:
        try:
            output = run(*python(ask), folder=tmp_path, environ=environ)
        finally:
            worker.terminate()
    assert output.startswith("file:///")


def test_a_provider_works_without_a_fleet(tmp_path: Path) -> None:
    with OpenAIServer().thread() as server:
        environ = {"PATH": os.environ["PATH"], **server.environment()}
        output = run(
            sys.executable, FOLDER / "provider_without_fleet.py", folder=tmp_path, environ=environ
        )
    sizes, last = zip(*(line.split() for line in output.splitlines()), strict=True)
    assert list(map(int, sizes)) == sorted(map(int, sizes))
    assert last[-1] == "True"


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    programs = blocks(page("guides/testing.md"), "python")
    (tmp_path / "test_guide.py").write_text("\n\n".join(programs), "utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    pytest_alone = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
    ]
    output = run(*pytest_alone, "test_guide.py", folder=tmp_path, environ=environ)
    assert "2 passed" in output


def test_an_agent_of_agentscope_speaks_without_a_key(fleet: Fleet, tmp_path: Path) -> None:
    espeak = {"SPEECHFLEET_DEFAULT_MODEL": "espeak/espeak-ng"}  # it need not be loaded first
    program = FOLDER / "agentscope_agent.py"
    output = fleet.run(sys.executable, program, "And you?", folder=tmp_path, **espeak)
    assert "A fleet is a number of ships. They sail together." in output
    heard = wav.decode((tmp_path / "reply.wav").read_bytes())
    assert len(heard.pcm) / 2 / heard.sample_rate > 1.0


@pytest.mark.parametrize("name", ["langchain_speech", "openai_agents_voice"])
def test_other_frameworks_speak_by_a_few_lines(fleet: Fleet, tmp_path: Path, name: str) -> None:
    output = fleet.run(sys.executable, FOLDER / f"{name}.py", folder=tmp_path)
    assert float(output.split()[0]) > 1.0, output
