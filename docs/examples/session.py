"""Speak what a language model writes, while it writes."""

from collections.abc import Iterator

from speechfleet import Client


def language_model() -> Iterator[str]:
    """Stand in for the stream of a language model: a few words at a time."""
    answer = "The first sentence is heard at once. This one while the rest is still written."
    for word in answer.split():
        yield f"{word} "


with (
    Client.local() as fleet,
    fleet.session(model="espeak/espeak-ng", voice="en-us") as session,
):
    for words in language_model():
        session.say(words)  # only what is new; returns at once
    for chunk in session.synthesize():  # no more text: chunks to the end
        print(f"{chunk.seconds:.1f} s so far")
    session.result(timeout=60).save("answer.wav")
