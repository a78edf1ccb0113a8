-- Counts of a namespace by the minute, for those who look at the last hour.
--
-- A script that includes this names the prefix MINUTES first: the number of a minute follows.
local MINUTE_TTL = 2 * 3600 -- s
local BUCKET = 1.25 -- each bucket of times is so much longer than the one before

-- Add to a count of the minute that `at` (ms) lies in.
local function count_in_minute(at, field, number)
  local minute = MINUTES .. math.floor(at / 60000)
  if redis.call('HINCRBY', minute, field, number) == tonumber(number) then
    redis.call('EXPIRE', minute, MINUTE_TTL) -- a field that is new: the minute may be, too
  end
end

-- Count how long (ms) a job of this lane has waited for its first audio.
local function count_first_audio(at, lane, waited)
  local bucket = math.floor(math.log(math.max(1, waited)) / math.log(BUCKET))
  count_in_minute(at, string.format('first:%s:%d', lane, bucket), 1)
end
