-- Declare void what lies past an offset; a new attempt goes on from there.
--
-- KEYS   1 record   2 streams, prefix, + epoch
-- ARGV   1 token   2 offset   3 attempt   4 reason
-- Reply  1 done, also where there was nothing to void; -1 the token is not the owner's
local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'audio', 'epoch')
if r[1] ~= 'RUNNING' or r[2] ~= ARGV[1] then
  return -1
end
if tonumber(r[3] or '0') > tonumber(ARGV[2]) then
  redis.call('XADD', KEYS[2] .. r[4], '*', 'kind', 'rewind', 'offset', ARGV[2],
    'attempt', ARGV[3], 'reason', ARGV[4])
  redis.call('HSET', KEYS[1], 'audio', ARGV[2])
end
return 1
