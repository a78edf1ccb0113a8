-- May this segment be spoken now? Its text must not be spoken by another at this moment, and
-- the budget of the account must have room. What is granted is booked at once.
--
-- KEYS   6 speaking: who speaks this segment   7 uses, set   8 beats, hash
-- ARGV   4 name of the job   5 token   6 index of the segment   7 "live" | "batch"
--        8 units of the call   9 ms that it may wait where it is   10 "1": the job has begun,
--        it need not stand in line   11 requests a minute with which to begin where nothing is
--        known, 0: without any limit   12 ms after which the claim is void
--        13 "1": the store has nothing of it, whatever `uses` says
-- Reply  {"go", ms to wait, when that is over (ms), "1": tell whether it went `through`} | {"stored"}: look again | {"spoken"}: by another | {"wait"}
local PROBE = 10000 -- ms after which a call that tries it alone is given up
local NAME, TOKEN, INDEX = ARGV[4], ARGV[5], ARGV[6]
local whose = taken(KEYS[6], KEYS[7], KEYS[8], NAME, TOKEN, INDEX, ARGV[13])
if whose then
  return {whose}
end
local function go(wait)
  take(KEYS[6], NAME, TOKEN, INDEX, ARGV[12])
  local at = string.format('%.3f', AT + wait)
  return {'go', tostring(math.ceil(wait)), at, b.closed > 0 and '1' or '0'}
end

if b.rate == 0 and REQUESTS == 0 then
  b.rate = tonumber(ARGV[11])
  b.mode = SEARCHING
end
if rate() == 0 and UNITS == 0 and CONCURRENT == 0 then
  return go(0)
end
local lane = ARGV[7]
local woken = redis.call('ZREM', WOKEN, NAME) == 1
redis.call('ZREM', LINES[lane], NAME)
local before_me = in_line('live') + (lane == 'batch' and in_line('batch') or 0)
if before_me > 0 and not woken and ARGV[10] ~= '1' then
  return {'wait'}
end
if b.tries > 0 and b.probe > AT then
  return {'wait'}
end
local next_request, next_unit = due()
local wait = math.max(0, b.paused - AT)
if rate() > 0 then
  wait = math.max(wait, next_request - AT)
end
if UNITS > 0 then
  wait = math.max(wait, next_unit - AT)
end
if wait > (woken and 1000 or tonumber(ARGV[9])) then
  return {'wait'}
end
if CONCURRENT > 0 then
  local calls = redis.call('ZCARD', CALLS)
  if calls >= CONCURRENT then
    for _, lease in ipairs(redis.call('ZRANGE', CALLS, 0, -1)) do
      if not alive(KEYS[8], string.match(lease, '^(.*)/')) then
        redis.call('ZREM', CALLS, lease)
        calls = calls - 1
      end
    end
    if calls >= CONCURRENT then
      return {'wait'}
    end
  end
  redis.call('ZADD', CALLS, AT, TOKEN .. '/' .. INDEX)
end

-- Slowly where it was found; faster the longer nothing is refused: it may have been raised.
local function growth(gone)
  if b.span > 0 then
    local spans = b.busy / b.span
    return gone / b.span * (spans > 10 and 0.12 or spans > 2 and 0.04 or 0.01)
  elseif b.accepted > 1500 or b.busy > 600000 then
    return math.max(0.002, 2 ^ (gone / 300000) - 1)
  end
  return (b.accepted > 600 or b.busy > 120000) and 0.0006 or 0.00012
end
-- The limit shows only while it is what keeps calls back.
local gone = math.min(AT - b.seen, math.max(1000, rate() > 0 and 90000 / rate() or 0))
if b.closed == 0 and (b.tat > AT - 100 or before_me > 0) then
  b.busy = b.busy + gone
  if b.mode == SEARCHING then
    b.rate = b.rate * 2 ^ (gone / 2000)
  elseif b.mode == NARROWING then
    -- By so little a call that the next refusal comes after enough of them to count.
    b.rate = b.rate * math.min(2 ^ (gone / 10000), math.max(1.01, 2 ^ (gone / 120000)))
  elseif b.mode == FOUND then
    b.rate = b.rate * (1 + growth(gone))
  end
  b.rate = math.min(b.rate, MOST, REQUESTS > 0 and REQUESTS or MOST)
end
if b.since == 0 then
  b.since = AT
end
if b.tries > 0 then
  b.probe = AT + wait + PROBE
end
b.seen = AT
count(1)
if rate() > 0 then
  b.tat = next_request + 60000 / rate()
end
if UNITS > 0 then
  local units = tonumber(ARGV[8])
  b.unit_tat = next_unit + units * 60000 / (UNITS * MARGIN)
  b.mean = b.mean == 0 and units or b.mean * 0.95 + units * 0.05
end
save()
return go(wait)
