-- Record that a call went through after others were refused. Where that took long, the provider
-- counts in windows: what it let through in one, over the window's length, is its rate.
--
-- KEYS   as of `limit.lua`
-- ARGV   as of `limit.lua`; then age: ms since the call was granted
-- include: limit
local age = unpack(ARGV, 4)
local LONGEST_WINDOW = 60000 -- ms: what is promised is promised a minute
local granted = AT - tonumber(age)
if limit.closed_since == 0 or granted <= limit.last_refusal then
  return 0
end
local opened = limit.retry_at > limit.last_refusal and limit.retry_at
  or (limit.last_refusal + granted) / 2
local counts_in_windows = limit.probes > 0 and opened - limit.closed_since >= STEADY_BUCKET
if counts_in_windows and limit.passed_since > 0 then
  local length = opened - limit.passed_since
  if limit.passed >= 3 then
    limit.rate = math.max(LOWEST_RATE, limit.passed * 60000 / length * 0.97)
  else
    limit.rate = math.max(LOWEST_RATE, limit.rate * 0.7)
  end
  limit.state, limit.state_since, limit.accepted, limit.busy = FOUND, opened, 1, 0
  limit.window_ms = math.min(LONGEST_WINDOW, length)
end
limit.closed_since, limit.probes, limit.probe_until = 0, 0, 0
save()
return 1
