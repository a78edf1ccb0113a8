-- The provider has refused a call: too many. All workers pause, and ask less. What was granted
-- before the last refusal says nothing new by being refused too. Where it is refused again
-- before anything went through, one call alone tries it from time to time (see `through`).
--
-- ARGV   4 ms that it asks to wait, -1: it did not say   5 requests a minute with which to begin
--        where none is known   6 ms since the call was granted
local ROOM = 300 -- ms without a grant: for what is on its way, without a refusal for each of it
local FIRST, LONGEST = 1000, 30000 -- ms of the pauses, where the provider does not say
local wait, granted = tonumber(ARGV[4]), AT - tonumber(ARGV[6])
count(-1)
b.refused = b.refused + 1
local function pause(ms)
  b.shut = math.max(b.shut, AT + ms)
  b.paused = math.max(b.paused, b.shut)
end
if wait >= 0 then
  b.told = math.max(b.told, AT + wait)
  pause(wait)
end
if granted <= b.cut then
  b.got = math.max(0, b.got - 1)
  save()
  return 0
end

local again = b.closed > 0 and (b.tries > 0 or b.accepted - lately() < 1)
if wait >= LONG or (wait < 0 and again) then
  b.tries = b.tries + 1
end
if wait < 0 and b.tries > 0 then
  -- Others who share the account should not come back at the same moment.
  pause(math.min(LONGEST, FIRST * 2 ^ (b.tries - 1) * (0.75 + time[2] % 1000 / 2000)))
elseif wait < 0 then
  pause(math.min(FIRST, 60000 / math.max(1, rate())))
end
-- Granted, but still waiting for their time; in a pause they give it up.
local ahead = math.max(0, b.tat - math.max(AT, b.shut)) * rate() / 60000
local since = AT - b.since
if not again then
  b.closed, b.got, b.from = AT, b.accepted - ahead, b.since
end
local function begin(mode)
  b.mode, b.since, b.accepted, b.busy = mode, AT, ahead, 0
end
b.cut, b.probe = AT, 0
b.paused = math.max(b.paused, AT + ROOM)
if b.rate == 0 then
  b.rate = REQUESTS > 0 and rate() or tonumber(ARGV[5])
  b.mode = NARROWING
end
if b.tries > 1 then
  -- Refused alone: that says when calls are let through again, and nothing of how many.
elseif b.mode == SEARCHING then
  -- What was asked for in the last second, where that is more than the very first calls.
  b.rate = (lately() >= 3 and math.min(b.rate, lately() * 60) or b.rate) * 0.7
  begin(NARROWING)
elseif since < 2000 then
  b.rate = b.rate * (b.mode == FOUND and 0.95 or 0.85)
elseif b.busy >= 0.8 * since and b.accepted >= 10 then
  -- What was let through on the way here was too little as long as the rate still rose; what
  -- is asked for now is too much.
  local passed = (b.accepted - ahead) * 60000 / since
  b.rate = (math.min(b.rate, passed) + b.rate) / 2 * 0.97
  begin(FOUND)
else
  b.rate = b.rate * 0.9
  begin(b.mode)
end
b.rate = math.max(b.rate, LEAST)
save()
return 1
