"""What agents of the frameworks say in tests, and how it sounds."""

from __future__ import annotations

from speechfleet_worker.testing.wire import speech

MODEL = "openai/gpt-4o-mini-tts"
MILLISECONDS = 20
"""Of speech for each code point."""
SENTENCES = [
    "The first sentence is spoken to the end.",
    "The second one follows it without a pause.",
    "And the third one is the last of them all.",
]
DELTAS = [f"{word} " for word in " ".join(SENTENCES).split()]


def spoken(*sentences: str) -> bytes:
    """Return the audio of sentences that are spoken one by one."""
    return b"".join(speech(sentence, 24_000, MILLISECONDS) for sentence in sentences)
