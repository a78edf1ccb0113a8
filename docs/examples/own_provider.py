from base64 import b64encode
from collections.abc import AsyncGenerator
from typing import Any

from speechfleet import Msg, TTSModelBase, TTSResponse
from speechfleet.tts import Base64Source

BEEP = bytes(range(0, 200, 2)) * 48  # 0.1 s of s16le PCM at 24 kHz


class BeepModel(TTSModelBase):
    def __init__(self, model_name: str, stream: bool = True, **options: Any) -> None:
        super().__init__(model_name, stream)

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        count = len(msg.text().split()) if msg else 0
        return self.beeps(count) if self.stream else response(count, is_last=True)

    async def beeps(self, count: int) -> AsyncGenerator[TTSResponse, None]:
        for number in range(1, count):
            yield response(number)  # accumulated: all the audio so far
        yield response(count, is_last=True)


def response(count: int, is_last: bool = False) -> TTSResponse:
    data = b64encode(BEEP * count).decode()
    source: Base64Source = {"type": "base64", "media_type": "audio/pcm;rate=24000", "data": data}
    return TTSResponse({"type": "audio", "source": source} if data else None, is_last=is_last)
