-- Take a batch whose input file no living gateway checks.
--
-- KEYS   validating: zset
-- ARGV   lease: ms after which another gateway may take it
-- Reply  its name: namespace and batch, encoded; false for none
-- include: clock
local VALIDATING = unpack(KEYS)
local lease = unpack(ARGV)
local at = now()
local name = redis.call('ZRANGEBYSCORE', VALIDATING, '-inf', at, 'LIMIT', 0, 1)[1]
if not name then
  return false
end
redis.call('ZADD', VALIDATING, at + tonumber(lease), name)
return name
