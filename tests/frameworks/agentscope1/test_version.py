"""What only version 2 has is refused under version 1, by name."""

from __future__ import annotations

import pytest

from speechfleet.errors import MisconfiguredError
from speechfleet.integrations import agentscope


@pytest.mark.parametrize("name", agentscope.OF_VERSION_2)
def test_a_class_of_version_2_says_what_to_use_instead(name: str) -> None:
    with pytest.raises(MisconfiguredError, match=rf"{name} needs AgentScope 2, and this is 1\."):
        getattr(agentscope, name)


def test_another_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        getattr(agentscope, "nothing")  # noqa: B009 # as an import does
