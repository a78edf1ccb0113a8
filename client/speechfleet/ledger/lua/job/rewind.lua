-- Declare void what lies past an offset; a new attempt goes on from there.
--
-- KEYS   record; streams: prefix, + epoch
-- ARGV   token; offset; attempt; reason
-- Reply  1 done, also where there was nothing to void; -1 the token is not the owner's
local RECORD, STREAMS = unpack(KEYS)
local token, offset, attempt, reason = unpack(ARGV)
local state, owner, audio, epoch =
  unpack(redis.call('HMGET', RECORD, 'state', 'token', 'audio', 'epoch'))
if state ~= 'RUNNING' or owner ~= token then
  return -1
end
if tonumber(audio or '0') > tonumber(offset) then
  redis.call('XADD', STREAMS .. epoch, '*', 'kind', 'rewind', 'offset', offset,
    'attempt', attempt, 'reason', reason)
  redis.call('HSET', RECORD, 'audio', offset)
end
return 1
