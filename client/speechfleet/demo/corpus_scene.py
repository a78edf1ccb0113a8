"""A scene: the Declaration of Human Rights in six languages, one job for each article."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import groupby

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from speechfleet.demo.corpus import Article, articles
from speechfleet.demo.stage import Stage
from speechfleet.errors import SpeechFleetError
from speechfleet.job import AsyncJob, AsyncSpeech
from speechfleet.lifecycle import State
from speechfleet.tts import Msg


async def speak_corpus(stage: Stage) -> None:
    """Speak all articles and show the speed."""
    texts = articles()
    languages = len({text.language for text in texts})
    stage.title(f"A corpus: {len(texts)} texts in {languages} languages, on the batch lane")
    loop = asyncio.get_running_loop()
    began = loop.time()
    jobs, spoken = await _submit(stage, texts)
    speeches = await _await_all(stage, jobs)
    took = loop.time() - began
    seconds = sum(speech.duration for speech in speeches)
    speed = f"{seconds / 60:.0f} minutes of speech"
    if spoken == len(texts):
        speed += ", by an earlier run"
    elif spoken:
        speed += f" in {took:.1f} s; {spoken} of them by an earlier run"
    else:
        speed += f" in {took:.1f} s, {seconds / took:,.0f} times real time"
    stage.claim(
        f"all {len(texts)} are spoken: {speed}",
        holds=len(speeches) == len(texts) and all(speech.size for speech in speeches),
    )


async def _submit(stage: Stage, texts: list[Article]) -> tuple[list[AsyncJob], int]:
    """Submit the articles; return the jobs, and how many of them an earlier run has spoken."""
    jobs: list[AsyncJob] = []
    for language, group in groupby(texts, lambda text: text.language):
        messages = [Msg(name=text.title, content=text.text, id=text.id) for text in group]
        jobs += await stage.client.submit_many(messages, language=language, lane="batch")
    spoken = 0
    for job in jobs:
        state = (await job.record()).state
        spoken += state is State.SUCCEEDED
        if state is State.FAILED:
            await job.retry()
    return jobs, spoken


async def _await_all(stage: Stage, jobs: list[AsyncJob]) -> list[AsyncSpeech]:
    """Wait for all jobs and return the speeches; each kind of failure is shown once."""
    speeches: list[AsyncSpeech] = []
    reasons: Counter[str] = Counter()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=stage.console) as progress:
        bar = progress.add_task("", total=len(jobs))
        for result in asyncio.as_completed([job.result() for job in jobs]):
            try:
                speeches.append(await result)
            except SpeechFleetError as error:
                reasons[f"{error.code}: {error}"] += 1
            seconds = sum(speech.duration for speech in speeches)
            progress.update(bar, advance=1, description=f"{seconds:,.0f} s of speech")
    for reason, count in reasons.items():
        stage.say(f"{count} failed: {reason}")
    return speeches
