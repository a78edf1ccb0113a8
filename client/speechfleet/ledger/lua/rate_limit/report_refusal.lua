-- Record that the provider has refused a call. All workers pause, and ask for less.
-- A call that was granted before the last refusal tells nothing new about the rate when it is
-- refused too: it is only counted, and its `Retry-After` may lengthen the pause. Where the provider
-- refuses again before a call went through, a single call tries it from time to time.
--
-- KEYS   as of `limit.lua`
-- ARGV   as of `limit.lua`; then retry_after: ms that the provider asks to wait, -1: it did not
--        say; first_rate: requests a minute with which to begin where none is known;
--        age: ms since the call was granted
-- include: limit
local retry_after, first_rate, age = unpack(ARGV, 4)
local ON_THEIR_WAY = 300 -- ms without a grant: for calls under way, without a refusal for each
local FIRST_PAUSE, LONGEST_PAUSE = 1000, 30000 -- ms, where the provider does not say
retry_after = tonumber(retry_after)
local granted = AT - tonumber(age)
count_grants(-1)
limit.refusals = limit.refusals + 1
local function pause(ms)
  limit.start_after = math.max(limit.start_after, AT + ms)
  limit.grant_after = math.max(limit.grant_after, limit.start_after)
end
if retry_after >= 0 then
  limit.retry_at = math.max(limit.retry_at, AT + retry_after)
  pause(retry_after)
end
if granted <= limit.last_refusal then
  limit.passed = math.max(0, limit.passed - 1)
  save()
  return 0
end

local again = limit.closed_since > 0
  and (limit.probes > 0 or limit.accepted - granted_lately() < 1)
if retry_after >= STEADY_BUCKET or (retry_after < 0 and again) then
  limit.probes = limit.probes + 1
end
if retry_after < 0 and limit.probes > 0 then
  -- Others who share the account should not come back at the same moment.
  local jitter = 0.75 + microseconds % 1000 / 2000
  pause(math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ^ (limit.probes - 1) * jitter))
elseif retry_after < 0 then
  pause(math.min(FIRST_PAUSE, 60000 / math.max(1, current_rate())))
end
-- Granted, but still waiting for their time; in a pause they give it up.
local not_begun = math.max(0, limit.next_request - math.max(AT, limit.start_after))
  * current_rate() / 60000
local in_state = AT - limit.state_since
if not again then
  limit.closed_since = AT
  limit.passed, limit.passed_since = limit.accepted - not_begun, limit.state_since
end
local function enter(state)
  limit.state, limit.state_since, limit.accepted, limit.busy = state, AT, not_begun, 0
end
limit.last_refusal, limit.probe_until = AT, 0
limit.grant_after = math.max(limit.grant_after, AT + ON_THEIR_WAY)
if limit.rate == 0 then
  limit.rate = requests_limit > 0 and current_rate() or tonumber(first_rate)
  limit.state = NARROWING
end
if limit.probes > 1 then
  -- Refused alone: that says when calls are let through again, and nothing of how many.
elseif limit.state == SEARCHING then
  -- What was asked for in the last second, where that is more than the very first calls.
  local asked = granted_lately() >= 3 and granted_lately() * 60 or HIGHEST_RATE
  limit.rate = math.min(limit.rate, asked) * 0.7
  enter(NARROWING)
elseif in_state < 2000 then
  limit.rate = limit.rate * (limit.state == FOUND and 0.95 or 0.85)
elseif limit.busy >= 0.8 * in_state and limit.accepted >= 10 then
  -- The calls that went through are a lower bound of the limit: for part of the time the rate was
  -- still below it. The rate of now is an upper bound: it was refused. Take the mean of both.
  local passed = (limit.accepted - not_begun) * 60000 / in_state
  limit.rate = (math.min(limit.rate, passed) + limit.rate) / 2 * 0.97
  enter(FOUND)
else
  limit.rate = limit.rate * 0.9
  enter(limit.state)
end
limit.rate = math.max(limit.rate, LOWEST_RATE)
save()
return 1
