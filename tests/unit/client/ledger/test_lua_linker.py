"""Scripts are sent without what they do not use, and with all that they do."""

from __future__ import annotations

from speechfleet.ledger.lua_linker import link, words_of

SCRIPT = """\
local LIMIT = 3 -- jobs
local UNUSED = {1, 2,
  3}

-- Double a number.
local function double(value)
  local LIMIT_HERE = value
  return 2 * LIMIT_HERE
end

-- Nobody calls this, nor what it calls.
local function four_times(value)
  return double(double(value))
end

local function alone()
  if true then
    return UNUSED
  end
end

local first, second = unpack(ARGV)
local written = redis.call('SET', first, LIMIT)
return second
"""


def test_unused_functions_and_values_go_and_what_they_alone_used() -> None:
    linked = link(SCRIPT)
    assert words_of(linked).keys().isdisjoint({"UNUSED", "double", "four_times", "alone"})
    assert "Double a number" not in linked


def test_what_is_used_and_what_calls_something_stays() -> None:
    linked = link(SCRIPT)
    assert "local LIMIT = 3" in linked
    assert linked.endswith(SCRIPT[SCRIPT.index("local first, second") :])


def test_a_use_in_a_comment_is_none() -> None:
    assert link("-- see A\nlocal A = 1\nreturn 2 -- not A\n") == "return 2 -- not A\n"
