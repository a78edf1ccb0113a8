"""What an integration has ready before anybody speaks."""

from __future__ import annotations

import subprocess
import sys


def test_the_first_audio_imports_nothing() -> None:
    program = """
import sys
import speechfleet.integrations.fleet_voice
from speechfleet.audio.resampling import Resampler
known = set(sys.modules)
Resampler(22_050, 24_000).push(bytes(4_800))
print(sorted(set(sys.modules) - known))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
