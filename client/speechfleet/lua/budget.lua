-- What the scripts about a budget begin with: take, refused, through, refill. A budget is what a
-- provider's account lets all workers together ask of one model.
--
-- KEYS   1 budget, hash   2 line of live jobs, zset   3 line of batch jobs, zset
--        4 woken, zset: names by the time until which a place is kept for them
--        5 calls, zset: leases of the calls under way
-- ARGV   1 requests a minute   2 units (characters, tokens) a minute   3 calls at once;
--        0 where that is not known
--
-- Requests and units are paced (GCRA): `tat` is when the next is due. Where the limit of
-- requests is not known, `rate` is what was found: doubled every 2 s until a first refusal,
-- then brought near by small steps. A bucket is empty whenever it refuses, so what it gave
-- between two refusals, over the time between them, is its rate. A provider may as well count
-- in fixed windows and then refuse until the next one begins: see `refused`.
local BUDGET, WOKEN, CALLS = KEYS[1], KEYS[4], KEYS[5]
local LINES = {live = KEYS[2], batch = KEYS[3]}
local REQUESTS, UNITS, CONCURRENT = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local MARGIN = 0.98 -- of a known limit: calls do not arrive as evenly as they were sent
local CREDIT = 250 -- ms of unused time that may be caught up with
local LEAST, MOST = 1, 600000 -- requests a minute that can be found
local LONG = 2000 -- ms for which a bucket that fills steadily does not refuse
local SEARCHING, NARROWING, FOUND = 1, 2, 3

local time = redis.call('TIME')
local AT = time[1] * 1000 + time[2] / 1000
local FIELDS = {'rate', 'mode', 'tat', 'unit_tat', 'mean', 'paused', 'since', 'accepted', 'busy',
  'seen', 'cut', 'second', 'now', 'before', 'turn', 'refused',
  'closed', -- since when calls are refused, as far as is known; 0: they are not
  'tries', -- of one call alone, whether they still are
  'probe', -- until when the one is waited for
  'shut', 'told', -- until when no call may begin, and until when the provider said so
  'got', 'from', -- calls that went through until `closed`, and since when
  'span'} -- ms of the windows in which the provider seems to count; 0: a bucket
local b, was = {}, {}
for i, value in ipairs(redis.call('HMGET', BUDGET, unpack(FIELDS))) do
  was[FIELDS[i]] = tonumber(value) or 0
  b[FIELDS[i]] = was[FIELDS[i]]
end

local function save()
  local pairs_ = {}
  for _, name in ipairs(FIELDS) do
    if b[name] ~= was[name] then
      table.insert(pairs_, name)
      table.insert(pairs_, string.format('%.6f', b[name]))
    end
  end
  if pairs_[1] then
    redis.call('HSET', BUDGET, unpack(pairs_))
  end
end

-- Requests a minute, 0 for any number.
local function rate()
  local known = REQUESTS * MARGIN
  if b.rate == 0 or known == 0 then
    return math.max(b.rate, known)
  end
  return math.min(b.rate, known)
end

-- When the next request, and the next unit, are due.
local function due()
  local floor = math.max(AT - CREDIT, b.paused)
  return math.max(b.tat, floor), math.max(b.unit_tat, floor)
end

local function in_line(lane)
  return redis.call('ZCARD', LINES[lane])
end

-- Requests that were granted in the second that ends now.
local function lately()
  local part = AT / 1000 - b.second
  if part >= 2 then
    return 0
  elseif part >= 1 then
    return b.now * (2 - part)
  end
  return b.now + b.before * (1 - part)
end

local function count(requests)
  local second = math.floor(AT / 1000)
  if second ~= b.second then
    b.before = second == b.second + 1 and b.now or 0
    b.second, b.now = second, 0
  end
  b.now = math.max(0, b.now + requests)
  b.accepted = math.max(0, b.accepted + requests)
end
