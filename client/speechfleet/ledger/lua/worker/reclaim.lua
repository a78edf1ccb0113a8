-- Remove the streams that have expired, and give back their bytes.
--
-- KEYS   expiring: zset of streams by expiry; bytes: counter; stream_sizes, namespace_sizes: hashes
-- ARGV   count: at most so many
-- Reply  number of streams that were removed; as many as `count`: there may be more
local EXPIRING, BYTES, STREAM_SIZES, NAMESPACE_SIZES = unpack(KEYS)
-- include: clock
-- include: stream_sizes
-- include: streams
local count = unpack(ARGV)

local due = redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', now(), 'LIMIT', 0, count)
for _, stream in ipairs(due) do
  remove_stream(stream)
  redis.call('ZREM', EXPIRING, stream)
end
return #due
