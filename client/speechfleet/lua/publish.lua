-- Append audio to the stream, under the token and at exactly the right offset.
--
-- KEYS   1 record   2 streams, prefix, + epoch   3 bytes, counter
-- ARGV   1 token   2 from   3 total: the new bytes are [from, total) of the job's audio
--        4 offset of the entry (from, or 0 for the accumulated wire)   5 data of the entry
--        6 bytes that all streams together may hold   7 sample rate
--        8... where `from` is 0: fields of `started`, written before the epoch's first audio
-- Reply  the audio there is now: `total` when written (now or earlier), less: a gap, send again
--        from there; -1: the token is not the owner's; -2: there is no room, try again later
local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'audio', 'epoch', 'rate',
  'streamed')
if r[1] ~= 'RUNNING' or r[2] ~= ARGV[1] then
  return -1
end
local audio, total = tonumber(r[3] or '0'), tonumber(ARGV[3])
if total <= audio then
  return total
end
if tonumber(ARGV[2]) ~= audio then
  return audio
end
local size = #ARGV[5]
if redis.call('INCRBY', KEYS[3], size) > tonumber(ARGV[6]) then
  redis.call('DECRBY', KEYS[3], size)
  return -2
end
local stream = KEYS[2] .. r[4]
if not r[5] then
  redis.call('XADD', stream, '*', unpack(ARGV, 8))
  redis.call('HSET', KEYS[1], 'rate', ARGV[7])
end
redis.call('XADD', stream, '*', 'kind', 'audio', 'offset', ARGV[4], 'total', ARGV[3],
  'data', ARGV[5])
redis.call('HSET', KEYS[1], 'audio', ARGV[3], 'streamed', tonumber(r[6] or '0') + size)
return total
