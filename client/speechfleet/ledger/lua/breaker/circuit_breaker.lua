-- The circuit breaker of one provider: whether jobs that have a fallback voice still call it.
--
-- KEYS   breaker: hash; breakers: set of the providers that have one
-- ARGV   event: "admit": may a job call the provider? | "failure" | "success"; provider;
--        owner: token of the job's run; age: ms since the call began; code of the failure;
--        limit: failures in a row that open it, 1 where each further call would fail of it;
--        pause: ms until the first probe
-- Reply  {state, "1" if the job may call, ms until the next probe}
--
--     CLOSED --trip--> OPEN --due--> HALF_OPEN --success--> CLOSED
--                       ^                |  |
--                       +------trip------+  +--due: the probe was lost, another one goes
--
--   CLOSED     every job calls. The failures in a row are counted; the last one that is allowed trips it.
--   OPEN       no job calls before the pause is over.
--   HALF_OPEN  one job calls: the probe. The others are not admitted until it has an answer.
--
-- A call that began after the breaker opened and is answered closes it, whoever made it.
local BREAKER, BREAKERS = unpack(KEYS)
local event, provider, owner, age, code, limit, pause = unpack(ARGV)
age, limit, pause = tonumber(age), tonumber(limit), tonumber(pause)
-- include: clock
local NEXT = {
  closed = {trip = 'open'},
  open = {due = 'half_open', success = 'closed'},
  half_open = {trip = 'open', due = 'half_open', success = 'closed'},
}
local FORGOTTEN = 60000 -- ms without a failure after which those before do not count
local REMEMBERED = 3600000 -- ms for which an open breaker is remembered that nobody asks
local PROBE = 60000 -- ms after which a probe without an answer is given up
local LONGEST_PAUSE = 300000 -- ms

local state, failures, trips, opened, next_at, probe =
  unpack(redis.call('HMGET', BREAKER, 'state', 'failures', 'trips', 'opened', 'next_at', 'probe'))
state = state or 'closed'
failures, trips = tonumber(failures or '0'), tonumber(trips or '0')
opened, next_at = tonumber(opened or '0'), tonumber(next_at or '0')
local at = now()

local function close()
  redis.call('DEL', BREAKER)
  redis.call('SREM', BREAKERS, provider)
  state = 'closed'
end

local function trip()
  state, trips, opened = NEXT[state].trip, trips + 1, at
  next_at = at + math.min(LONGEST_PAUSE, pause * 2 ^ (trips - 1))
  redis.call('HSET', BREAKER, 'state', state, 'trips', trips, 'opened', opened,
    'next_at', next_at, 'code', code, 'probe', '')
  redis.call('PEXPIRE', BREAKER, REMEMBERED)
end

local function count_failure()
  failures = failures + 1
  redis.call('HSET', BREAKER, 'state', state, 'failures', failures, 'code', code)
  redis.call('SADD', BREAKERS, provider)
  redis.call('PEXPIRE', BREAKER, state == 'closed' and FORGOTTEN or REMEMBERED)
end

local function send_probe()
  state, next_at = NEXT[state].due, at + PROBE
  redis.call('HSET', BREAKER, 'state', state, 'probe', owner, 'next_at', next_at)
end

local may = state == 'closed' or (state == 'half_open' and probe == owner)
if event == 'admit' then
  -- Where the clock was set back, the breaker opened in the future: nobody shall wait for that.
  if not may and (at >= next_at or opened > at) then
    send_probe()
    may = true
  end
elseif event == 'failure' then
  count_failure()
  if (state == 'closed' and failures >= limit) or (state == 'half_open' and probe == owner) then
    trip()
  end
  may = state == 'closed'
elseif state == 'closed' then
  close() -- the failures were not in a row
elseif NEXT[state].success and at - age >= opened then
  close()
  may = true
end
local wait = state == 'closed' and 0 or math.max(0, next_at - at)
return {state, may and '1' or '0', wait}
