-- Give the fleet a corpus to feed. From its first line, unless this very feed is open already:
-- the worker that fed it before is fenced off.
--
-- KEYS   feed: hash; feeds: set
-- ARGV   name: namespace and batch; object; size: bytes; terms
-- Reply  1, or 0: it is open as it is
local FEED, FEEDS = unpack(KEYS)
local name, object, size, terms = unpack(ARGV)
local current_object, current_terms = unpack(redis.call('HMGET', FEED, 'object', 'terms'))
local open = redis.call('SISMEMBER', FEEDS, name) == 1
if open and current_object == object and current_terms == terms then
  return 0
end
redis.call('HDEL', FEED, 'boot', 'token')
redis.call('HSET', FEED, 'object', object, 'size', size, 'terms', terms, 'offset', 0)
redis.call('PERSIST', FEED)
redis.call('SADD', FEEDS, name)
return 1
