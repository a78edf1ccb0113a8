-- Remove the streams that have expired, and give back their bytes.
--
-- KEYS   expiring: zset of streams by expiry; bytes: counter; stream_sizes, namespace_sizes: hashes
-- Reply  number of streams
local EXPIRING, BYTES, STREAM_SIZES, NAMESPACE_SIZES = unpack(KEYS)
-- include: clock
-- include: streams
local AT_ONCE = 1000

local due = redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', now(), 'LIMIT', 0, AT_ONCE)
for _, stream in ipairs(due) do
  remove_stream(stream)
  redis.call('ZREM', EXPIRING, stream)
end
return #due
