-- Read what was pushed into a session since the worker read last; it may be nudged again then.
--
-- KEYS   record; nudged: set of its worker
-- ARGV   token; name; offset (bytes of UTF-8) up to which the worker has the text
-- Reply  {text from there on, "1" while more may come, ms since its client was heard of,
--        ms since the last new text}; -1: the token is not the owner's
local RECORD, NUDGED = unpack(KEYS)
local token, name, offset = unpack(ARGV)
-- include: clock
local state, owner, text, open, seen, pushed, created = unpack(redis.call('HMGET', RECORD,
  'state', 'token', 'text', 'open', 'seen', 'pushed', 'created'))
if state ~= 'RUNNING' or owner ~= token then
  return -1
end
redis.call('SREM', NUDGED, name)
local at = now()
local tail = string.sub(text or '', tonumber(offset) + 1)
return {tail, open or '', at - tonumber(seen or created), at - tonumber(pushed or created)}
