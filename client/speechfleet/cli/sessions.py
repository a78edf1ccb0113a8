"""The command ``session``: speaks a text from stdin while it is being written."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from speechfleet.cli import options, output
from speechfleet.cli.audio_output import deliver
from speechfleet.cli.connect import check_served, check_store, on_fleet
from speechfleet.cli.speaking import report_speech
from speechfleet.cli.targets import Target
from speechfleet.client import AsyncClient
from speechfleet.errors import EmptyText, IllegalText, SpeechFleetError
from speechfleet.job import AsyncSpeech
from speechfleet.request import check_id
from speechfleet.session import AsyncSession

READ_SIZE = 65_536


def session(
    model: options.Model = None,
    voice: options.Voice = "",
    format: options.Format = None,
    out: options.Output = None,
    play: options.Play = False,
    id: options.SessionId = None,
    option: options.Options = None,
    language: options.Language = "",
    speakable: options.Speakable = None,
    lexicon: options.LexiconFile = None,
    loudness: options.Loudness = None,
    speed: options.Speed = None,
    fallback: options.Fallback = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Speak a text while it is written: `some-llm | speechfleet session --play`.

    Reads stdin as it comes, to its end. Without a fleet it brings one up on this machine.
    Ctrl-C stops the speech at once.
    """
    target = Target.check(out, play=play, as_json=as_json)
    model, voice = options.model_and_voice(model, voice)
    format = target.format(format)
    given = options.provider_options(option)
    order: dict[str, Any] = {
        "model": model, "voice": voice, "format": format, "cache": not no_cache,
        "language": language, **options.spoken_form(speakable, lexicon, loudness, speed, fallback),
    }  # fmt: skip
    options.check_no_overlap(order, given)
    own = check_id(id) if id is not None else None

    async def work(client: AsyncClient) -> None:
        if target.path is not None or not target.stdout:
            check_store(client)  # before anything is paid for
        await check_served(client, model)
        async with client.session(id=own, **order, **given) as session:
            with output.progress(quiet=quiet or sys.stdin.isatty()) as progress:
                async with _stopped_on_interrupt(session):
                    speech = await _until_spoken(
                        _write(session), deliver(session.job, target, format, progress)
                    )
            await report_speech(session.job, speech, target, as_json=as_json, quiet=quiet)

    on_fleet(work, start=True, sessions=True, quiet=quiet)


async def _write(session: AsyncSession) -> None:
    async for text in _stdin():
        await session.say(text)
    if not session.text.strip():
        raise EmptyText("there is nothing to say: pipe a text in")
    await session.complete()


async def _until_spoken(
    writing: Coroutine[Any, Any, None], hearing: Coroutine[Any, Any, AsyncSpeech]
) -> AsyncSpeech:
    """Write and listen until the speech has ended; the first failure ends both."""
    write, hear = asyncio.create_task(writing), asyncio.create_task(hearing)
    try:
        await asyncio.wait((write, hear), return_when=asyncio.FIRST_COMPLETED)
        if not hear.done():
            write.result()
        return await hear
    finally:
        for task in (write, hear):
            task.cancel()
        await asyncio.gather(write, hear, return_exceptions=True)


@contextlib.asynccontextmanager
async def _stopped_on_interrupt(session: AsyncSession) -> AsyncGenerator[None, None]:
    """Stop the speech when this command is interrupted or its output has no reader."""
    try:
        yield
    except (asyncio.CancelledError, BrokenPipeError):
        with contextlib.suppress(SpeechFleetError):
            heard = await session.interrupt()
            output.tell(f"{session.id}: {heard:,} of {len(session.text):,} characters were spoken")
        raise


async def _stdin() -> AsyncGenerator[str, None]:
    """Yield the text on stdin as it comes; UTF-8, with or without a BOM. Raises IllegalText."""
    loop = asyncio.get_running_loop()
    read: asyncio.Queue[bytes] = asyncio.Queue()

    def pump() -> None:
        # A loop that has closed wants nothing more.
        with contextlib.suppress(RuntimeError):
            while data := os.read(sys.stdin.fileno(), READ_SIZE):
                loop.call_soon_threadsafe(read.put_nowait, data)
            loop.call_soon_threadsafe(read.put_nowait, b"")

    # Of its own and a daemon: a read that never returns must not hold up the end.
    threading.Thread(target=pump, name="stdin", daemon=True).start()
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    while True:
        data = await read.get()
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise IllegalText(
                f"the text on stdin is not UTF-8: it has a byte 0x{error.object[error.start]:02x}"
            ) from None
        if text:
            yield text
        if not data:
            return
