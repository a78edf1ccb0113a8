"""Amazon Polly: what is sent, words by a second request, and the signature that AWS expects."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config

from speechfleet.errors import AuthenticationFailed, RequestRejected
from speechfleet_worker.providers.polly import PollyOptions, PollyTTSModel
from speechfleet_worker.testing.conformance import spoken
from speechfleet_worker.testing.polly_server import PollyServer
from speechfleet_worker.testing.wire import speech

pytestmark = pytest.mark.usefixtures("rehearsed")

TEXT = "Zwölf Wörter, and a naïve 词 at the end."


def model(server: PollyServer, **options: Any) -> PollyTTSModel:
    return PollyTTSModel(
        base_url=server.url, region="eu-west-1", access_key="AKID", secret_key="secret",
        options=PollyOptions(**options),
    )  # fmt: skip


async def test_what_is_sent_is_what_the_sdk_sends() -> None:
    async with PollyServer() as server:
        await spoken(model(server), TEXT)
    with PollyServer().thread() as other:
        client: Any = boto3.client(
            "polly", endpoint_url=other.url, region_name="eu-west-1",
            aws_access_key_id="AKID", aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip
        answer = client.synthesize_speech(
            Engine="neural", Text=TEXT, TextType="text", VoiceId="Joanna", OutputFormat="pcm",
            SampleRate="16000",
        )  # fmt: skip
        with answer["AudioStream"] as stream:
            assert stream.read() == speech(TEXT, 16_000)
        client.close()
    [ours], [theirs] = server.calls, other.calls
    assert ours.request == theirs.request
    assert ours.key == theirs.key == "AKID"


async def test_words_come_by_a_second_request_which_is_counted() -> None:
    async with PollyServer(milliseconds=100) as server:
        last = (await spoken(model(server, word_marks=True), TEXT))[-1]
    assert [call.request["OutputFormat"] for call in server.calls] == ["json", "pcm"]
    assert last.usage is not None
    assert last.usage.characters == server.characters == 2 * len(TEXT)
    assert last.metadata is not None
    words = last.metadata["words"]
    said = [TEXT[word.text_start : word.text_end] for word in words]
    assert said == ["Zwölf", "Wörter", "and", "a", "naïve", "词", "at", "the", "end"]
    assert all(word.start == pytest.approx(word.text_start / 10) for word in words)


async def test_an_unknown_engine_and_missing_credentials_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RequestRejected, match="standard, neural"):
        PollyTTSModel("nueral")
    monkeypatch.setattr("speechfleet_worker.providers.polly._credentials", lambda: None)
    with pytest.raises(AuthenticationFailed, match="AWS_ACCESS_KEY_ID"):
        await spoken(PollyTTSModel(), TEXT)
