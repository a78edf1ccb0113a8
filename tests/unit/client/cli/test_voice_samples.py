"""Samples of voices: the price before them, and the files that they become."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from speechfleet.cli import voice_samples
from speechfleet.cli.voice_samples import Samples, speak_samples
from speechfleet.errors import InvalidRequest, JobFailed
from speechfleet.settings import Settings

PAID, FREE = "openai/tts-1", "hibari/heart"


def samples(folder: Path, model: str = PAID, *voices: str) -> Samples:
    return Samples(model, voices or ("alloy", "nova"), "Hello.", folder, "wav")


class FakeClient:
    """A client whose jobs are saved as their voice; the voice "bad" fails."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.saved: dict[str, str] = {}

    async def submit(self, text: str, **order: Any) -> SimpleNamespace:
        self.orders.append({"text": text, **order})

        async def save(path: Path) -> None:
            self.saved[path.name] = order["voice"]

        async def result() -> SimpleNamespace:
            if order["voice"] == "bad":
                raise JobFailed("no such voice")
            return SimpleNamespace(save=save)

        return SimpleNamespace(result=result)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    client = FakeClient()

    async def served(*_: object) -> None:
        """All are served."""

    monkeypatch.setattr(voice_samples, "on_fleet", lambda work, start: asyncio.run(work(client)))
    monkeypatch.setattr(voice_samples, "check_store", lambda _: None)
    monkeypatch.setattr(voice_samples, "check_served", served)
    return client


def test_each_voice_speaks_into_a_file_of_its_name(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speak_samples(samples(tmp_path / "x", PAID, "alloy", "a/b"), yes=True, as_json=False)
    assert client.saved == {"alloy.wav": "alloy", "a%2Fb.wav": "a/b"}
    printed = capsys.readouterr()
    assert printed.out.split() == [str(tmp_path / "x" / name) for name in client.saved]
    assert "2 voices of openai/tts-1, 6 characters each: about 0.0002 USD" in printed.err
    assert [order["text"] for order in client.orders] == ["Hello."] * 2


@pytest.mark.usefixtures("client")
def test_a_voice_that_fails_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        speak_samples(samples(tmp_path, FREE, "bad", "heart"), yes=False, as_json=True)
    assert ended.value.exit_code == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["files"] == {"heart": str(tmp_path / "heart.wav")}
    assert answer["failed"] == {"bad": "no such voice"}


def test_nothing_is_paid_for_unasked(tmp_path: Path, client: FakeClient) -> None:
    with pytest.raises(InvalidRequest, match="--yes"):
        speak_samples(samples(tmp_path), yes=False, as_json=False)
    assert client.orders == []


def test_a_model_without_a_list_of_voices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no list of voices"):
        Samples(PAID, (), "Hello.", tmp_path, "wav").check(Settings())
