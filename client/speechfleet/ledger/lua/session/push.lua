-- Add text to a session, and nudge the worker that holds it.
--
-- Late, doubled and reordered pushes change nothing: what is there already is only compared. At
-- most one nudge is out for all sessions of a worker: it looks for the others when it gets that
-- one, and now and then besides, so a nudge may be lost.
--
-- KEYS   record
-- ARGV   name; offset; tail: the text from the offset on; prefix_digest: SHA-1 of the text before
--        the offset; complete: "1" if no text follows   (offsets are bytes of UTF-8)
-- Reply  {"held", state} | {"short"}: the text does not reach the offset, send all of it
--        | {"diverged", text} | {"closed", state}: it takes no more text | {}: no such job
--        | a quota's refusal: see `quotas.lua`
-- include: prelude
local _, offset, tail, prefix_digest, complete = unpack(ARGV)
local state, text, open, route, boot, quota = get('state', 'text', 'open', 'route', 'boot', 'quota')
if not state then
  return {}
end
text, offset = text or '', tonumber(offset)
if offset > #text then
  return {'short'}
end
local known = string.sub(text, offset + 1, offset + #tail)
if redis.sha1hex(string.sub(text, 1, offset)) ~= prefix_digest
    or known ~= string.sub(tail, 1, #known) then
  return {'diverged', text}
end
local new = string.sub(tail, #known + 1)
if not open or not NEXT[state]['cancel'] then
  return {new == '' and 'held' or 'closed', state}
end
local at = now()
if quota and new ~= '' then
  local limits, characters = quota_limits(), quotas().code_points(new)
  local reserved, price, streams = quotas().read(quota)
  local refusal = limits and quotas().refusal(limits, at,
    {characters = characters, price = price, jobs = 0, streams = 0})
  if refusal then
    return refusal
  end
  quotas().rebook(quota, reserved + characters, streams)
end
redis.call('HSET', RECORD, 'seen', at)
if new ~= '' then
  redis.call('HSET', RECORD, 'text', text .. new, 'pushed', at)
end
if complete == '1' then
  redis.call('HDEL', RECORD, 'open')
end
if route and (new ~= '' or complete == '1') and redis.call('SADD', NUDGED .. boot, NAME) == 1
    and redis.call('SCARD', NUDGED .. boot) == 1 then
  redis.call('LPUSH', route, message(NAME, '@NUDGE@', redis.call('INCR', SEQUENCE), route, '0'))
end
return {'held', state}
