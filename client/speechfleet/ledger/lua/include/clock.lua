-- The server's clock, and the times that lie ahead.

-- Milliseconds since 1970.
local function now()
  local seconds, microseconds = unpack(redis.call('TIME'))
  return seconds * 1000 + math.floor(microseconds / 1000)
end

local CLOCK_STEP = 1000 -- ms; less is the jitter of a clock that is corrected
local CLOCK_NOTED_EVERY = 500 -- ms

-- Note what the clock says. Where it was set back, the times in these zsets step back with it: a
-- wait of a second stays one.
local function follow_clock(clock, zsets)
  local at = now()
  local step = tonumber(redis.call('GET', clock) or '0') - at
  if step > CLOCK_STEP then
    for _, times in ipairs(zsets) do
      local members = redis.call('ZRANGE', times, 0, -1, 'WITHSCORES')
      for i = 1, #members, 2 do
        local member, time = members[i], tonumber(members[i + 1])
        redis.call('ZADD', times, time - step, member)
      end
    end
  end
  if math.abs(step) > CLOCK_NOTED_EVERY then
    redis.call('SET', clock, at)
  end
  return at
end
