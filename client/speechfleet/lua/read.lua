-- What was pushed into a session since the worker read last; it may be nudged again from now on.
--
-- KEYS   1 record   2 nudged, set of its worker
-- ARGV   1 token   2 name   3 offset (bytes of UTF-8) up to which the worker has the text
-- Reply  {text from there on, "1" while more may come, ms since its client was heard of,
--        ms since the last new text}; -1: the token is not the owner's
local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'text', 'open', 'seen', 'pushed',
  'created')
if r[1] ~= 'RUNNING' or r[2] ~= ARGV[1] then
  return -1
end
redis.call('SREM', KEYS[2], ARGV[2])
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
local tail = string.sub(r[3] or '', tonumber(ARGV[3]) + 1)
return {tail, r[4] or '', at - tonumber(r[5] or r[7]), at - tonumber(r[6] or r[7])}
