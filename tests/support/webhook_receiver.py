"""A receiver of webhooks on loopback, which verifies them as any other would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier

from speechfleet.webhook_settings import WebhookSetting, make_secret


@dataclass
class Received:
    """One message as it came, before anything is verified."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """The event; raises where the signature is not good."""
        return Verifier(secret).verify(self.body.decode(), self.headers)


@dataclass
class Receiver:
    """Answers each message with the next of ``answers``, and then with 204 for ever."""

    url: str = ""
    secret: str = field(default_factory=make_secret)
    answers: list[str] = field(default_factory=list)
    messages: list[Received] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def setting(self) -> WebhookSetting:
        return WebhookSetting(url=self.url, secret=SecretStr(self.secret))

    def events(self) -> list[tuple[str, str]]:
        """(type, id of the job or batch) of all messages."""
        return [(m.event["type"], m.event["data"]["id"]) for m in self.messages]

    async def until(self, count: int) -> None:
        """Wait for so many messages."""
        async with asyncio.timeout(120), self.came:
            await self.came.wait_for(lambda: len(self.messages) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines) if k
        }
        body = await reader.readexactly(int(headers["content-length"]))
        answer = self.answers.pop(0) if self.answers else "204 No Content"
        async with self.came:
            self.messages.append(Received(headers, body))
            self.came.notify_all()
        if answer:
            writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?tenant=a"
    async with server:
        yield receiver
