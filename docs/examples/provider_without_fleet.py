"""Use a provider's class without any fleet, as AgentScope's tutorial does."""

import asyncio
from collections.abc import AsyncGenerator

from speechfleet import Msg
from speechfleet_worker.providers import OpenAITTSModel


async def main() -> None:
    model = OpenAITTSModel(
        api_key="sk-...", model_name="gpt-4o-mini-tts", voice="alloy", stream=True
    )
    responses = await model.synthesize(Msg("assistant", "Hello.", "assistant"))
    assert isinstance(responses, AsyncGenerator)  # because of stream=True
    async for response in responses:
        if response.content is not None:
            print(len(response.content["source"]["data"]), response.is_last)


if __name__ == "__main__":
    asyncio.run(main())
