-- Resume as many of the jobs in line as will have room within a moment: nine live ones to one of
-- a batch, where both wait.
--
-- KEYS   as of `limit.lua`; then delayed: zset; rate_limits: set of names; heartbeats: hash
-- ARGV   as of `limit.lua`; then limit_name; horizon: ms for which room is looked for
-- Reply  names of jobs that are due now
-- include: limit
local DELAYED, RATE_LIMITS, HEARTBEATS = unpack(KEYS, 8)
local limit_name, horizon = unpack(ARGV, 4)
local PLACE_KEPT = 2000 -- ms for which a place is kept
local MOST_AT_ONCE = 200
local LIVE_TO_BATCH = 10 -- one of so many is a batch's

redis.call('ZREMRANGEBYSCORE', RESUMED, '-inf', AT)
-- While the limit is searched for, what is on its way when it is met will be refused.
local unsure = limit.state == SEARCHING or limit.state == NARROWING
local until_then = AT + tonumber(horizon) * (unsure and 0.4 or 1)
local next_request, next_unit = due()
local room = limit.grant_after > until_then and 0 or MOST_AT_ONCE
if current_rate() > 0 then
  room = math.min(room, math.floor((until_then - next_request) * current_rate() / 60000) + 1)
end
if units_limit > 0 then
  local ms_of_a_call = math.max(limit.mean_units, 1) * 60000 / units_limit
  room = math.min(room, math.floor((until_then - next_unit) / ms_of_a_call) + 1)
end
if concurrent_limit > 0 then
  for _, lease in ipairs(redis.call('ZRANGE', CALLS, 0, -1)) do
    local boot = string.match(lease, '^(.*):[^:]*/')
    if redis.call('HEXISTS', HEARTBEATS, boot or '') == 0 then
      redis.call('ZREM', CALLS, lease)
    end
  end
  room = math.min(room, concurrent_limit - redis.call('ZCARD', CALLS))
end
if limit.probes > 0 then
  room = math.min(room, limit.probe_until > AT and 0 or 1)
end
room = room - redis.call('ZCARD', RESUMED)

-- The first in line, and the virtual time of the line moves on to its place.
local function pop(lane)
  local name, place = unpack(redis.call('ZPOPMIN', LINES[lane]))
  if name then
    redis.call('HSET', TAGS[lane], '', place)
  else
    redis.call('DEL', TAGS[lane])
  end
  return name
end

local names = {}
while room > 0 do
  limit.lane_turn = (limit.lane_turn + 1) % LIVE_TO_BATCH
  local first, second = 'live', 'batch'
  if limit.lane_turn == 0 then
    first, second = second, first
  end
  local name = pop(first) or pop(second)
  if not name then
    redis.call('SREM', RATE_LIMITS, limit_name)
    break
  end
  -- One that is no longer delayed has been cancelled meanwhile, or came by itself.
  if redis.call('ZADD', DELAYED, 'XX', 'CH', 0, name) == 1 then
    redis.call('ZADD', RESUMED, AT + PLACE_KEPT, name)
    table.insert(names, name)
    room = room - 1
  end
end
redis.call('HSET', RATE_LIMIT, 'lane_turn', limit.lane_turn)
redis.call('EXPIRE', RATE_LIMIT, LIFETIME)
return names
