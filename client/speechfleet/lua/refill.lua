-- Wake as many of those in line as will have room within a moment: nine live ones to one of a
-- batch, where both wait.
--
-- KEYS   6 delayed, zset   7 budgets, set   8 beats, hash
-- ARGV   4 the budget's name   5 ms ahead
-- Reply  names of jobs that are due now
local HELD = 2000 -- ms for which a place is kept
redis.call('ZREMRANGEBYSCORE', WOKEN, '-inf', AT)
-- While the limit is searched for, what is on its way when it is met will be refused.
local unsure = b.mode == SEARCHING or b.mode == NARROWING
local ahead = AT + tonumber(ARGV[5]) * (unsure and 0.4 or 1)
local next_request, next_unit = due()
local room = b.paused > ahead and 0 or 200
if rate() > 0 then
  room = math.min(room, math.floor((ahead - next_request) * rate() / 60000) + 1)
end
if UNITS > 0 then
  local each = math.max(b.mean, 1) * 60000 / UNITS
  room = math.min(room, math.floor((ahead - next_unit) / each) + 1)
end
if CONCURRENT > 0 then
  for _, lease in ipairs(redis.call('ZRANGE', CALLS, 0, -1)) do
    local boot = string.match(lease, '^(.*):[^:]*/')
    if redis.call('HEXISTS', KEYS[8], boot or '') == 0 then
      redis.call('ZREM', CALLS, lease)
    end
  end
  room = math.min(room, CONCURRENT - redis.call('ZCARD', CALLS))
end
if b.tries > 0 then
  room = math.min(room, b.probe > AT and 0 or 1)
end
room = room - redis.call('ZCARD', WOKEN)
local names = {}
while room > 0 do
  b.turn = (b.turn + 1) % 10
  local first, second = LINES.live, LINES.batch
  if b.turn == 0 then
    first, second = second, first
  end
  local popped = redis.call('ZPOPMIN', first)
  if not popped[1] then
    popped = redis.call('ZPOPMIN', second)
  end
  local name = popped[1]
  if not name then
    redis.call('SREM', KEYS[7], ARGV[4])
    break
  end
  -- One that is no longer there has been cancelled meanwhile, or came by itself.
  if redis.call('ZADD', KEYS[6], 'XX', 'CH', 0, name) == 1 then
    redis.call('ZADD', WOKEN, AT + HELD, name)
    table.insert(names, name)
    room = room - 1
  end
end
redis.call('HSET', BUDGET, 'turn', b.turn)
return names
