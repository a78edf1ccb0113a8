-- Give a feed back. Where the batch is open (again), another worker goes on with it.
--
-- KEYS   feed: hash; feeds: set; batch: hash
-- ARGV   name: namespace and batch; token
-- Reply  1, or 0: another worker holds it now
local FEED, FEEDS, BATCH = unpack(KEYS)
local name, token = unpack(ARGV)
if redis.call('HGET', FEED, 'token') ~= token then
  return 0
end
redis.call('HDEL', FEED, 'boot', 'token')
if redis.call('HGET', BATCH, 'state') ~= 'open' then
  redis.call('SREM', FEEDS, name)
end
return 1
