"""A LangChain chain that ends in speech: the model's words are heard while it writes them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableGenerator

from speechfleet import AsyncClient
from speechfleet.session import AsyncSession


async def chain(fleet: AsyncClient) -> AsyncGenerator[bytes, None]:
    """Yield the answer's audio: 16-bit samples, 24,000 a second."""

    async def write(session: AsyncSession, texts: AsyncIterator[str]) -> None:
        async for text in texts:
            await session.say(text)
        await session.complete()

    async def speech(texts: AsyncIterator[str]) -> AsyncIterator[bytes]:
        session = fleet.session(model="espeak/espeak-ng", linear=True, sample_rate=24_000)
        async with session, asyncio.TaskGroup() as tasks:
            tasks.create_task(write(session, texts))
            async for chunk in session.listen():
                yield chunk.delta

    model = FakeListChatModel(responses=["A fleet sails together. So do its ships."])
    spoken = model | StrOutputParser() | RunnableGenerator(speech)
    async for audio in spoken.astream("What is a fleet?"):
        yield audio


async def main() -> None:
    """Say how much was heard."""
    async with AsyncClient.local() as fleet:
        heard = [len(audio) async for audio in chain(fleet)]
    print(f"{sum(heard) / 48_000:.1f} s of speech")


asyncio.run(main())
