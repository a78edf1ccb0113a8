-- Its holder is done with it. Where the batch is open (again), somebody goes on.
--
-- KEYS   1 feed, hash   2 feeds, set   3 batch, hash
-- ARGV   1 namespace and batch   2 token
-- Reply  1, or 0: somebody else holds it now
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], 'boot', 'token')
if redis.call('HGET', KEYS[3], 'state') ~= 'open' then
  redis.call('SREM', KEYS[2], ARGV[1])
end
return 1
