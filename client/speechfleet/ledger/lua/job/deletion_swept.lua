-- Plan the next sweep of a deleted job, or forget it.
--
-- KEYS   deletions: zset; deleted_at: hash; leftovers: set of hashes
-- ARGV   name; delay: ms until the next sweep, "" where this one was the last
local DELETIONS, DELETED_AT, LEFTOVERS = unpack(KEYS)
local name, delay = unpack(ARGV)
-- include: clock
if delay ~= '' then
  redis.call('ZADD', DELETIONS, 'XX', now() + tonumber(delay), name)
  return 1
end
redis.call('ZREM', DELETIONS, name)
redis.call('HDEL', DELETED_AT, name)
redis.call('DEL', LEFTOVERS)
return 0
