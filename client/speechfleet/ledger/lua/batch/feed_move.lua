-- Record what a feeder has done: fed up to an offset, written a part of the manifest. Idempotent.
--
-- KEYS   feed: hash; parts: list
-- ARGV   token; offset, or ""; object of the part, or ""
-- Reply  1, or 0: another worker holds it now
local FEED, PARTS = unpack(KEYS)
local token, offset, object = unpack(ARGV)
if redis.call('HGET', FEED, 'token') ~= token then
  return 0
end
if offset ~= '' then
  redis.call('HSET', FEED, 'offset', offset)
end
if object ~= '' and redis.call('LINDEX', PARTS, -1) ~= object then
  redis.call('RPUSH', PARTS, object)
end
return 1
