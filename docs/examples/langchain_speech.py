"""A LangChain chain that ends in speech: the model's words are heard while it writes them."""

import asyncio

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser

from speechfleet import AsyncClient
from speechfleet.integrations.langchain import FleetTTS


async def main() -> None:
    model = FakeListChatModel(responses=["A fleet sails together. So do its ships."])
    async with AsyncClient.local() as fleet:
        chain = model | StrOutputParser() | FleetTTS("espeak/espeak-ng", client=fleet)
        heard = [len(audio) async for audio in chain.astream("What is a fleet?")]
    print(f"{sum(heard) / 48_000:.1f} s of speech")


asyncio.run(main())
