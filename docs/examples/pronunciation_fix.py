"""Middleware that replaces words which a model mispronounces.

Run the workers with SPEECHFLEET_MIDDLEWARE=pronunciation_fix:PronunciationFix
"""

import re

from speechfleet_worker.middleware import JobInfo, Middleware

SAY_AS = {"SQL": "sequel", "nginx": "engine x", "Kubernetes": "koo-ber-net-ees"}
WORD = re.compile(r"\b(?:" + "|".join(map(re.escape, SAY_AS)) + r")\b")


class PronunciationFix(Middleware):
    """Send "sequel" to the provider where the text says "SQL"."""

    async def before_call(self, job: JobInfo, text: str) -> str:
        return WORD.sub(lambda match: SAY_AS[match[0]], text)
