-- The rate limit of one model: what the provider's account lets all workers together ask for.
-- The common part of `acquire`, `report_refusal`, `report_success` and `refill`. The script
-- `acquire_unlimited` does not include it: it only asks whether the hash exists.
--
-- KEYS   rate_limit: hash; live_line, batch_line: zsets of suspended jobs; resumed: zset of names
--        by the time until which a place is kept for them; calls: zset, leases of the calls under
--        way; live_tags, batch_tags: hashes, places in the lines by namespace
-- ARGV   requests a minute; units (characters, tokens) a minute; concurrent: calls at once;
--        0 where that is not known
--
-- Requests and units are paced (GCRA): each grant moves the time at which the next one is due by
-- 60000 / rate ms. Where the limit of requests is not known, `rate` is found by asking:
--
--     SEARCHING --first refusal--> NARROWING --refusal at a steady rate--> FOUND
--                                                                           |  ^
--                                                                           +--+ refusals
--
--   SEARCHING  no refusal yet. The rate doubles every 2 s while calls wait for it. Only a model
--              that is metered begins here; any other has no rate until its first refusal, which
--              begins NARROWING.
--              Refused: rate = 0.7 * min(rate, 60 * grants of the last second) -> NARROWING.
--   NARROWING  below the first refusal. The rate doubles every 10 s, but grows by at most 1 % a
--              call. Where calls are so few that this is slower than doubling every 120 s, it
--              doubles every 120 s.
--              Refused within 2 s: rate * 0.85. Refused after at least 10 calls, while calls
--              waited for the rate in 80 % of the time: p calls a minute went through in that
--              time, and rate = 0.97 * (min(rate, p) + rate) / 2 -> FOUND. Else: rate * 0.9.
--   FOUND      near the limit. The rate grows slowly (`growth`), faster the longer nothing is
--              refused: the limit may have been raised. Refused: as in NARROWING, but
--              rate * 0.95 where it is refused at once.
--
-- Beside this, after a refusal the limit is closed until a call goes through (`report_success`):
--
--     OPEN --refusal--> CLOSED --nothing went through before the next refusal,
--      ^                  |        or the provider asks for 2 s or more--> PROBING
--      |                  |                                                   |
--      +---- a call goes through <-----------------------------------------  +
--
--   CLOSED   closed_since > 0, probes = 0: calls begin after the pause, at the new rate.
--   PROBING  probes > 0: one call at a time tries it; pauses double from 1 s to 30 s.
--            The provider counts in windows where this took 2 s or more. The calls that went
--            through in the window, over its length, are then its rate: rate = 0.97 * passed *
--            60000 / length -> FOUND, with window_ms = length (at most a minute).
--
-- docs/concepts/rate-finder.md explains why.
local RATE_LIMIT, LIVE_LINE, BATCH_LINE, RESUMED, CALLS, LIVE_TAGS, BATCH_TAGS = unpack(KEYS)
local LINES = {live = LIVE_LINE, batch = BATCH_LINE}
local TAGS = {live = LIVE_TAGS, batch = BATCH_TAGS}
local requests_limit, units_limit, concurrent_limit = unpack(ARGV, 1, 3)
requests_limit, units_limit, concurrent_limit =
  tonumber(requests_limit), tonumber(units_limit), tonumber(concurrent_limit)
local MARGIN = 0.98 -- of a known limit: calls do not arrive as evenly as they were sent
local CREDIT = 250 -- ms of unused time that may be caught up with
local LOWEST_RATE, HIGHEST_RATE = 1, 600000 -- requests a minute that can be found
local STEADY_BUCKET = 2000 -- ms for which a bucket that fills steadily does not refuse
local LIFETIME = 604800 -- s for which an unused rate limit is remembered
local STEP_BACK = 1000 -- ms; the server's clock was set back where it is that far behind
local SEARCHING, NARROWING, FOUND = 1, 2, 3

local seconds, microseconds = unpack(redis.call('TIME'))
local AT = seconds * 1000 + microseconds / 1000
local FIELDS = {
  'rate', -- requests a minute that were found; 0: nothing is known
  'state', -- SEARCHING, NARROWING or FOUND; 0: not searched for
  'state_since', 'accepted', 'busy', -- since when, grants since then, ms in which calls waited
  'next_request', 'next_unit', -- when the next one is due
  'mean_units', -- of a call
  'last_grant', 'last_refusal',
  'second', 'this_second', 'last_second', -- grants of two seconds
  'lane_turn', -- counts jobs that were resumed: one of ten is a batch's
  'refusals', -- in all
  'grant_after', -- time before which no call is granted
  'start_after', -- time before which no granted call may start: a pause after a refusal
  'retry_at', -- time that the provider named in its refusal
  'closed_since', -- since when calls are refused, as far as is known; 0: they are not
  'probes', 'probe_until', -- single calls that tried it; end of the wait for the last one
  'passed', 'passed_since', -- calls that went through until `closed_since`, and since when
  'window_ms', -- of the windows in which the provider seems to count; 0: a bucket
  'concurrent'} -- calls at once, as the provider says; 0: it does not
local TIMES = {'state_since', 'next_request', 'next_unit', 'last_grant', 'last_refusal',
  'grant_after', 'start_after', 'retry_at', 'closed_since', 'probe_until', 'passed_since'}
local limit, loaded = {}, {}
for i, value in ipairs(redis.call('HMGET', RATE_LIMIT, unpack(FIELDS))) do
  loaded[FIELDS[i]] = tonumber(value) or 0
  limit[FIELDS[i]] = loaded[FIELDS[i]]
end
if limit.concurrent > 0 then
  concurrent_limit =
    math.min(limit.concurrent, concurrent_limit > 0 and concurrent_limit or limit.concurrent)
end

-- After a step back of the server's clock, all times step back with it.
local step = limit.last_grant - AT
if step > STEP_BACK then
  for _, name in ipairs(TIMES) do
    limit[name] = limit[name] > 0 and math.max(1, limit[name] - step) or 0
  end
  limit.second = math.floor(AT / 1000)
end

local function save()
  local changes = {}
  for _, name in ipairs(FIELDS) do
    if limit[name] ~= loaded[name] then
      table.insert(changes, name)
      table.insert(changes, string.format('%.6f', limit[name]))
    end
  end
  if #changes > 0 then
    redis.call('HSET', RATE_LIMIT, unpack(changes))
    redis.call('EXPIRE', RATE_LIMIT, LIFETIME)
  end
end
if step > STEP_BACK then
  save()
end

-- Requests a minute that are asked for, 0 for any number.
local function current_rate()
  local known = requests_limit * MARGIN
  if limit.rate == 0 or known == 0 then
    return math.max(limit.rate, known)
  end
  return math.min(limit.rate, known)
end

-- When the next request, and the next unit, are due.
local function due()
  local earliest = math.max(AT - CREDIT, limit.grant_after)
  return math.max(limit.next_request, earliest), math.max(limit.next_unit, earliest)
end

local function jobs_in_line(lane)
  return redis.call('ZCARD', LINES[lane])
end

-- Requests that were granted in the second that ends now.
local function granted_lately()
  local age = AT / 1000 - limit.second
  if age >= 2 then
    return 0
  elseif age >= 1 then
    return limit.this_second * (2 - age)
  end
  return limit.this_second + limit.last_second * (1 - age)
end

local function count_grants(number)
  local second = math.floor(AT / 1000)
  if second ~= limit.second then
    limit.last_second = second == limit.second + 1 and limit.this_second or 0
    limit.second, limit.this_second = second, 0
  end
  limit.this_second = math.max(0, limit.this_second + number)
  limit.accepted = math.max(0, limit.accepted + number)
end
