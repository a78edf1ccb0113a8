-- Ask whether a segment may be synthesized now: its text must not be synthesized by another job
-- at this moment, and the account must have room. A granted call is booked at once.
--
-- KEYS   as of `limit.lua`; then speaking: claim on this segment; uses, begun: sets;
--        heartbeats: hash
-- ARGV   as of `limit.lua`; then name of the job; token; index and hash of the segment;
--        lane: "live" | "batch"; units of the call; patience: ms that it may wait where it is;
--        begun: "1" if the job has spoken before, it need not stand in line;
--        first_rate: requests a minute with which to begin where nothing is known, 0: without
--        any limit; lifetime: ms after which the claim is void;
--        missing: "1" where the store has nothing of it, whatever `uses` says
-- Reply  {"granted", ms to wait, when that is over (ms), "1": report its success,
--        "1": it counts among the calls at once, report its end}
--        | {"stored"}: look again | {"in_flight"}: by another | {"no_room"}
-- include: limit
local SPEAKING, USES, BEGUN, HEARTBEATS = unpack(KEYS, 8)
local name, token, index, hash, lane, units, patience, begun, first_rate, lifetime, missing =
  unpack(ARGV, 4)
-- include: single_flight
local PROBE = 10000 -- ms after which a single call that tries it is given up
local RESUMED_PATIENCE = 1000 -- ms that a job may wait for which a place is kept

-- In any case its place is free again: it comes by itself now, or needs no call any more.
local resumed = redis.call('ZREM', RESUMED, name) == 1
redis.call('ZREM', LINES[lane], name)
local other = find_other(name, token, index, missing)
if other then
  return {other}
end
local function grant(wait)
  claim_segment(name, token, index, lifetime, hash)
  local begins = string.format('%.3f', AT + wait)
  return {'granted', tostring(math.ceil(wait)), begins, limit.closed_since > 0 and '1' or '0',
    concurrent_limit > 0 and '1' or '0'}
end

if limit.rate == 0 and requests_limit == 0 then
  limit.rate = tonumber(first_rate)
  limit.state = SEARCHING
end
if current_rate() == 0 and units_limit == 0 and concurrent_limit == 0 then
  return grant(0)
end
local before_me = jobs_in_line('live') + (lane == 'batch' and jobs_in_line('batch') or 0)
if before_me > 0 and not resumed and begun ~= '1' then
  return {'no_room'}
end
if limit.probes > 0 and limit.probe_until > AT then
  return {'no_room'}
end
local next_request, next_unit = due()
local wait = math.max(0, limit.grant_after - AT)
if current_rate() > 0 then
  wait = math.max(wait, next_request - AT)
end
if units_limit > 0 then
  wait = math.max(wait, next_unit - AT)
end
if wait > (resumed and RESUMED_PATIENCE or tonumber(patience)) then
  return {'no_room'}
end
if concurrent_limit > 0 then
  redis.call('ZREMRANGEBYSCORE', CALLS, '-inf', AT - tonumber(lifetime)) -- no call lasts so long
  local calls = redis.call('ZCARD', CALLS)
  if calls >= concurrent_limit then
    for _, lease in ipairs(redis.call('ZRANGE', CALLS, 0, -1)) do
      if not is_alive(string.match(lease, '^(.*)/')) then
        redis.call('ZREM', CALLS, lease)
        calls = calls - 1
      end
    end
    if calls >= concurrent_limit then
      return {'no_room'}
    end
  end
  redis.call('ZADD', CALLS, AT, token .. '/' .. index)
end

-- By how much a found rate grows with this grant, as a fraction of the rate (0.01: by 1 %).
-- `elapsed`: ms since the last grant. The growth is faster the longer nothing was refused.
local function growth(elapsed)
  if limit.window_ms > 0 then
    local windows = limit.busy / limit.window_ms
    return elapsed / limit.window_ms * (windows > 10 and 0.12 or windows > 2 and 0.04 or 0.01)
  elseif limit.accepted > 1500 or limit.busy > 600000 then
    return math.max(0.002, 2 ^ (elapsed / 300000) - 1)
  end
  return (limit.accepted > 600 or limit.busy > 120000) and 0.0006 or 0.00012
end

-- Only a time in which calls waited for the rate tells whether the provider allows more.
local longest_step = math.max(1000, current_rate() > 0 and 90000 / current_rate() or 0)
local elapsed = math.min(AT - limit.last_grant, longest_step)
if limit.closed_since == 0 and (limit.next_request > AT - 100 or before_me > 0) then
  limit.busy = limit.busy + elapsed
  if limit.state == SEARCHING then
    limit.rate = limit.rate * 2 ^ (elapsed / 2000)
  elseif limit.state == NARROWING then
    -- By at most 1 % a call, so that many calls pass before the next refusal: their number gives
    -- the rate.
    limit.rate = limit.rate
      * math.min(2 ^ (elapsed / 10000), math.max(1.01, 2 ^ (elapsed / 120000)))
  elseif limit.state == FOUND then
    limit.rate = limit.rate * (1 + growth(elapsed))
  end
  local highest = requests_limit > 0 and requests_limit or HIGHEST_RATE
  limit.rate = math.min(limit.rate, HIGHEST_RATE, highest)
end
if limit.state_since == 0 then
  limit.state_since = AT
end
if limit.probes > 0 then
  limit.probe_until = AT + wait + PROBE
end
limit.last_grant = AT
count_grants(1)
if current_rate() > 0 then
  limit.next_request = next_request + 60000 / current_rate()
end
if units_limit > 0 then
  units = tonumber(units)
  limit.next_unit = next_unit + units * 60000 / (units_limit * MARGIN)
  limit.mean_units = limit.mean_units == 0 and units
    or limit.mean_units * 0.95 + units * 0.05
end
save()
return grant(wait)
