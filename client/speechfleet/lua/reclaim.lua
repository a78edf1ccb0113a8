-- Give back the room of the streams that have expired.
--
-- KEYS   1 expiring, zset of "stream|bytes"   2 bytes, counter
-- Reply  number of streams
local time = redis.call('TIME')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time[1] * 1000, 'LIMIT', 0, 1000)
for _, member in ipairs(due) do
  redis.call('DECRBY', KEYS[2], string.match(member, '|(%d+)$'))
  redis.call('ZREM', KEYS[1], member)
end
return #due
