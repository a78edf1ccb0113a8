"""From an input file to a batch that the fleet feeds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import asdict
from typing import Any, BinaryIO

from pydantic import ValidationError

from speechfleet.batch.batch import AsyncBatch
from speechfleet.batch.offer import FleetOffer
from speechfleet.batch.spool import JSONL
from speechfleet.client import AsyncClient
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest, ObjectMissing
from speechfleet.gateway.batches.batch_input import BatchInput, Check, Problem
from speechfleet.gateway.batches.batch_output import Links, content_of
from speechfleet.gateway.batches.batch_view import INVALID, Notes
from speechfleet.gateway.error_responses import describe_problem
from speechfleet.gateway.errors import FileNotFound
from speechfleet.gateway.offered_models import OfferedModels
from speechfleet.gateway.speech_order import SpeechOrder, check_text, resolve_model
from speechfleet.in_thread import in_thread
from speechfleet.settings import Settings
from speechfleet.store import layout
from speechfleet.store.long_object import put_file

MESSAGE_CHARACTERS = 500


class BatchStart:
    """Check the input file of one batch that was announced, and have the fleet feed it.

    What was done may be done again by another gateway: nothing is spoken twice.
    """

    def __init__(self, client: AsyncClient, id: str, notes: Notes) -> None:
        self._client = client
        self._id = id
        self._notes = notes

    async def run(self, models: OfferedModels) -> None:
        """Open the batch. An invalid input makes one that has failed and says where.

        Raises BatchStopped where it was cancelled; StoreError, FleetUnavailable.
        """
        settings = self._client.settings
        offer = await FleetOffer.load(self._client.context, (), {})
        check = _check_of(settings, models, offer, self._id)
        with (
            closing(BatchInput(check, settings.gateway_body)) as lines,
            tempfile.TemporaryFile() as source,
        ):
            try:
                await _save(await self._content(), source)
            except (FileNotFound, ObjectMissing) as error:  # deleted since
                await self.refuse([Problem(error.code, error.message)])
                return
            await in_thread(lines.read, source)
            self._notes = self._notes.counted(lines.lines, lines.refused_lines)
            if lines.problems:
                await self.refuse(lines.problems)
            else:
                await self._open(lines)

    async def refuse(self, problems: Sequence[Problem]) -> None:
        """Let the batch fail before its first item."""
        listed = json.dumps([asdict(problem) for problem in problems])
        await self._client.ledger.batch_orders.refuse(
            self._client.namespace, self._id, INVALID, "the input file is invalid",
            {**self._notes.as_about(), "problems": listed},
        )  # fmt: skip

    async def _content(self) -> AsyncGenerator[bytes, None]:
        client, id = self._client, self._notes.input_file_id
        file = await client.ledger.files.find(client.namespace, id)
        if file is None:
            raise FileNotFound(f"the input file {id!r} was deleted before it was checked")
        return content_of(client, file, Links(""))

    async def _open(self, lines: BatchInput) -> None:
        client = self._client
        if lines.refused_lines:
            key = layout.rejected_object(client.namespace, self._id)
            await put_file(client.store, key, lines.refused, media_type=JSONL)
        batch = AsyncBatch(
            client.context, lines.items(), {},
            id=self._id, remote=True, about=self._notes.as_about(), is_announced=True,
        )  # fmt: skip
        try:
            await batch.detach()
        except InvalidRequest as error:  # the fleet offers less than a moment ago
            await self.refuse([Problem(error.code, error.message)])


async def _save(content: AsyncGenerator[bytes, None], file: BinaryIO) -> None:
    async with aclosing(content):
        async for piece in content:
            await in_thread(file.write, piece)
    await in_thread(file.seek, 0)


def _check_of(settings: Settings, models: OfferedModels, offer: FleetOffer, batch: str) -> Check:
    """Return what makes an item of a line's body, as `/v1/audio/speech` reads it."""

    def check(id: str, body: Mapping[str, Any], place: str) -> Item:
        try:
            order = SpeechOrder.model_validate(body)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            _, message = describe_problem(problem["loc"], problem)
            raise InvalidRequest(message[:MESSAGE_CHARACTERS]) from None
        check_text(order.input, settings)
        model = models.describe(resolve_model(order.model, settings.gateway_aliases))
        asked = order.keywords(model, settings)
        fields = {name: asked[name] for name in ("model", "voice", "format", "language")}
        item = Item(id, order.input, {**fields, **asked["options"]}, place)
        offer.request(item, batch, {})
        return item

    return check
