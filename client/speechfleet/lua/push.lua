-- More text for a session, and a nudge to the worker that holds it.
--
-- Late, doubled and reordered pushes change nothing: what is there already is only compared. At
-- most one nudge is out for all sessions of a worker: it looks for the others when it gets that
-- one, and now and then besides, so a nudge may be lost.
--
-- ARGV   2 offset   3 tail: the text from the offset on   4 SHA-1 of the text before the offset
--        5 "1": the text is complete with this   (offsets are bytes of UTF-8)
-- Reply  {"held", state} | {"short"}: the text does not reach the offset, send all of it
--        | {"diverged", text} | {"closed", state}: it takes no more text | {}: no such job
local r = get('state', 'text', 'open', 'route', 'boot')
if not r[1] then
  return {}
end
local text, offset = r[2] or '', tonumber(ARGV[2])
if offset > #text then
  return {'short'}
end
local known = string.sub(text, offset + 1, offset + #ARGV[3])
if redis.sha1hex(string.sub(text, 1, offset)) ~= ARGV[4]
    or known ~= string.sub(ARGV[3], 1, #known) then
  return {'diverged', text}
end
local new = string.sub(ARGV[3], #known + 1)
if not r[3] or not NEXT[r[1]]['cancel'] then
  return {new == '' and 'held' or 'closed', r[1]}
end
local at = now()
redis.call('HSET', RECORD, 'seen', at)
if new ~= '' then
  redis.call('HSET', RECORD, 'text', text .. new, 'pushed', at)
end
if ARGV[5] == '1' then
  redis.call('HDEL', RECORD, 'open')
end
if r[4] and (new ~= '' or ARGV[5] == '1') and redis.call('SADD', NUDGED .. r[5], NAME) == 1
    and redis.call('SCARD', NUDGED .. r[5]) == 1 then
  redis.call('LPUSH', r[4], message('@NUDGE@', redis.call('INCR', SEQUENCE), r[4], '0'))
end
return {'held', r[1]}
