"""ElevenLabs: what is sent, the words, and errors that only their code tells apart."""

from __future__ import annotations

from typing import Any

import pytest

from speechfleet.errors import ProviderError, QuotaExceeded, RateLimited
from speechfleet.ledger.keys import RateLimitKeys
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers.elevenlabs import ElevenLabsOptions, ElevenLabsTTSModel
from speechfleet_worker.testing.conformance import spoken
from speechfleet_worker.testing.elevenlabs_server import ElevenLabsServer
from speechfleet_worker.testing.wire import Fault
from tests.support.two_providers import two_providers

pytestmark = pytest.mark.usefixtures("rehearsed")

TEXT = "Ein Wort, \u201edas andere\u201c -- und Schluss."


def model(server: ElevenLabsServer, **options: Any) -> ElevenLabsTTSModel:
    return ElevenLabsTTSModel(
        "key-1", base_url=server.url, voice="a/b", options=ElevenLabsOptions(**options)
    )


async def test_only_what_was_set_is_sent() -> None:
    async with ElevenLabsServer() as server:
        await spoken(model(server), TEXT)
        await spoken(model(server, stability=0.3, speed=1.1, seed=4, language_code="de"), TEXT)
    plain, full = (call.request for call in server.calls)
    fixed = {"text": TEXT, "model_id": "eleven_flash_v2_5", "voice": "a%2Fb"}
    assert plain == {**fixed, "output_format": "pcm_24000"}
    assert full == {
        **plain, "seed": 4, "language_code": "de",
        "voice_settings": {"stability": 0.3, "speed": 1.1},
    }  # fmt: skip


async def test_every_word_comes_with_its_time() -> None:
    async with ElevenLabsServer(milliseconds=100) as server:
        last = (await spoken(model(server), TEXT))[-1]
    assert last.metadata is not None
    words = last.metadata["words"]
    assert [TEXT[word.text_start : word.text_end] for word in words] == TEXT.split()
    for word in words:
        assert word.start == pytest.approx(word.text_start / 10)
        assert word.end == pytest.approx(word.text_end / 10)
    assert last.usage is not None
    assert last.usage.characters == len(TEXT)


async def test_texts_of_a_conversation_name_the_requests_before_them() -> None:
    async with ElevenLabsServer() as server, model(server).conversation() as talk:
        for number in range(5):
            responses = await talk.synthesize(Msg("a", f"Sentence {number}."))
            assert not isinstance(responses, TTSResponse)
            async for _ in responses:
                pass
    named = [call.request.get("previous_request_ids") for call in server.calls]
    assert named == [
        None, ["req_1"], ["req_1", "req_2"], ["req_1", "req_2", "req_3"],
        ["req_2", "req_3", "req_4"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(401, "quota_exceeded", QuotaExceeded), (429, "too_many_concurrent_requests", RateLimited)],
    ids=["an empty account is no wrong key", "too many at once"],
)
async def test_the_code_decides(status: int, code: str, error: type[ProviderError]) -> None:
    async with ElevenLabsServer() as server:
        server.script(Fault("status", status, code, "told by the server"))
        with pytest.raises(error, match="told by the server"):
            await spoken(model(server), TEXT)


async def test_voices_and_models_are_listed() -> None:
    async with ElevenLabsServer() as server:
        assert await model(server).list_voices() == ["george"]
        assert await model(server).list_models() == ["eleven_flash_v2_5"]


async def test_the_calls_at_once_of_the_account_are_found(
    redis_url: str, folder_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        ElevenLabsServer() as server,
        two_providers(redis_url, folder_store_url) as fleet,
    ):
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        worker = await fleet.start(["elevenlabs"])
        for id in ("a", "b"):
            await fleet.client.submit(TEXT + id, id=id, model="elevenlabs/eleven_flash_v2_5")
            assert (await fleet.run(worker, id)).state == "succeeded"
        [limit] = await fleet.client.ledger.rate_limiter.all()
        calls = RateLimitKeys(limit.model).calls
        left = await fleet.client.ledger.connection.scripts.call("ZCARD", calls)
    assert limit.concurrent == server.concurrent_limit
    assert left == 0, "each call was given back"
