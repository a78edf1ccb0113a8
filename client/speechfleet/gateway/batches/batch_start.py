"""From an input file to a batch that the fleet feeds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, closing
from dataclasses import asdict
from typing import Any, BinaryIO

from pydantic import ValidationError

from speechfleet.batch.batch import AsyncBatch
from speechfleet.batch.offer import FleetOffer
from speechfleet.batch.spool import JSONL
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest
from speechfleet.gateway.batches.batch_input import BatchInput, Check, Problem
from speechfleet.gateway.batches.batch_view import INVALID, Notes
from speechfleet.gateway.context import RequestContext
from speechfleet.gateway.error_responses import describe_problem
from speechfleet.gateway.offered_models import OfferedModels
from speechfleet.gateway.speech_order import check_text, resolve_model
from speechfleet.gateway.speech_routes import SpeechOrder
from speechfleet.in_thread import in_thread
from speechfleet.store import layout
from speechfleet.store.long_object import put_file

MESSAGE_CHARACTERS = 500


async def start_batch(
    context: RequestContext, id: str, notes: Notes, content: AsyncGenerator[bytes, None]
) -> None:
    """Check the content of an input file, and have the fleet feed what it asks for.

    An invalid input makes a batch that has failed and says where. Raises StoreError,
    FleetUnavailable.
    """
    client, settings = context.client, context.settings
    offer = await FleetOffer.load(client.context, (), {})
    check = _check_of(context, await context.models(), offer, id)
    with (
        closing(BatchInput(check, settings.gateway_body)) as lines,
        tempfile.TemporaryFile() as source,
    ):
        async with context.gateway.batch_checks:
            await _save(content, source)
            await in_thread(lines.read, source)
        notes = notes.counted(lines.lines, lines.refused_lines)
        if lines.problems:
            await _refuse(context, id, notes, lines.problems)
            return
        if lines.refused_lines:
            key = layout.rejected_object(client.namespace, id)
            await put_file(client.store, key, lines.refused, media_type=JSONL)
        batch = AsyncBatch(
            client.context, lines.items(), {}, id=id, remote=True, about=notes.as_about()
        )
        try:
            await batch.detach()
        except InvalidRequest as error:  # the fleet offers less than a moment ago
            await _refuse(context, id, notes, [Problem(error.code, error.message)])


async def _refuse(context: RequestContext, id: str, notes: Notes, problems: list[Problem]) -> None:
    listed = json.dumps([asdict(problem) for problem in problems])
    await context.client.ledger.batches.refuse(
        context.client.namespace, id, INVALID, "the input file is invalid",
        {**notes.as_about(), "problems": listed},
    )  # fmt: skip


async def _save(content: AsyncGenerator[bytes, None], file: BinaryIO) -> None:
    async with aclosing(content):
        async for piece in content:
            await in_thread(file.write, piece)
    await in_thread(file.seek, 0)


def _check_of(
    context: RequestContext, models: OfferedModels, offer: FleetOffer, batch: str
) -> Check:
    """Return what makes an item of a line's body, as `/v1/audio/speech` reads it."""
    settings = context.settings

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
