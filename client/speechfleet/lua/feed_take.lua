-- Take a feed that nobody alive holds.
--
-- KEYS   1 feed, hash   2 feeds, set   3 beats, hash
-- ARGV   1 namespace and batch   2 boot   3 token
-- Reply  1, or 0: another worker has it, or there is none
local held = redis.call('HGET', KEYS[1], 'boot')
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  return 0
end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0
    or (held and held ~= ARGV[2] and redis.call('HEXISTS', KEYS[3], held) == 1) then
  return 0
end
redis.call('HSET', KEYS[1], 'boot', ARGV[2], 'token', ARGV[3])
return 1
