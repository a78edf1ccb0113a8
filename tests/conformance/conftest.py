"""Every adapter is tested with its SDK imported."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def imported(rehearsed: None) -> None:
    """Import the SDKs once a process."""
