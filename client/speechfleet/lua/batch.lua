-- Bring a batch into a state; it is made where there is none.
--
-- KEYS   1 batch, hash   2 batches, zset   3 items   4 failures   5 results
--        6 feed   7 parts   8 feeds, set: one that the fleet feeds is fed again once it is open
-- ARGV   1 namespace and batch, encoded   2 state   3 ms after which all of it is gone, "" never
--        4... further fields, in pairs
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HDEL', KEYS[1], 'code', 'message')
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'updated', at)
if redis.call('HSETNX', KEYS[1], 'created', at) == 1 then
  redis.call('ZADD', KEYS[2], at, string.match(ARGV[1], '/(.*)$'))
end
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
if ARGV[2] == 'open' and redis.call('EXISTS', KEYS[6]) == 1 then
  redis.call('SADD', KEYS[8], ARGV[1])
end
for _, key in ipairs({KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]}) do
  if ARGV[3] == '' then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIRE', key, ARGV[3])
  end
end
