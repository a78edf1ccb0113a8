-- Give the fleet a corpus to feed. From its first line, unless this very feed is open already:
-- whoever fed it before is fenced off.
--
-- KEYS   1 feed, hash   2 feeds, set
-- ARGV   1 namespace and batch   2 object   3 bytes   4 terms
-- Reply  1, or 0: it is open as it is
local f = redis.call('HMGET', KEYS[1], 'object', 'terms')
local open = redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1
if open and f[1] == ARGV[2] and f[2] == ARGV[4] then
  return 0
end
redis.call('HDEL', KEYS[1], 'boot', 'token')
redis.call('HSET', KEYS[1], 'object', ARGV[2], 'size', ARGV[3], 'terms', ARGV[4], 'offset', 0)
redis.call('PERSIST', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[1])
return 1
