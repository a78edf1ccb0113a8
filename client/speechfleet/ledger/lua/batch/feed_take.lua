-- Take a feed that no living worker holds.
--
-- KEYS   feed: hash; feeds: set; heartbeats: hash
-- ARGV   name: namespace and batch; boot; token
-- Reply  1, or 0: another worker has it, or there is none
local FEED, FEEDS, HEARTBEATS = unpack(KEYS)
local name, boot, token = unpack(ARGV)
local holder = redis.call('HGET', FEED, 'boot')
if redis.call('EXISTS', FEED) == 0 then
  redis.call('SREM', FEEDS, name)
  return 0
end
if redis.call('SISMEMBER', FEEDS, name) == 0
    or (holder and holder ~= boot and redis.call('HEXISTS', HEARTBEATS, holder) == 1) then
  return 0
end
redis.call('HSET', FEED, 'boot', boot, 'token', token)
return 1
