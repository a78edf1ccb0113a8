-- What its holder has done: fed up to an offset, written a part of the manifest. Idempotent.
--
-- KEYS   1 feed, hash   2 parts, list
-- ARGV   1 token   2 offset, or ""   3 the part's object, or ""
-- Reply  1, or 0: somebody else holds it now
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'offset', ARGV[2])
end
if ARGV[3] ~= '' and redis.call('LINDEX', KEYS[2], -1) ~= ARGV[3] then
  redis.call('RPUSH', KEYS[2], ARGV[3])
end
return 1
