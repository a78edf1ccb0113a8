-- Write a new job and its message, or find the job that is there already.
--
-- KEYS   record
-- ARGV   name; digest; queue; mode; fence: token of the feeder that sends this item, or "";
--        then the fields of the record, in pairs, `batch` first
--        mode: "new"; "again": by a client that follows the job and finds it lost; "claimed": by
--        the worker that runs it and claims it next, so without a message. The latter two do not
--        bring back what was deleted.
-- Reply  {"new" | "held" | "conflict" | "deleted", state, epoch}; for an item of a batch also
--        {"full"}: as many wait as may, {"closed", code, message}: the batch takes no items, or
--        {"fenced"}: another worker feeds the batch now; a quota's refusal: see `quotas.lua`
-- memory: refused when full
-- include: prelude
local _, digest, queue, mode, fence, first_field, first_value = unpack(ARGV)
local FIRST_FIELD = 6
local held_digest, held_state, held_epoch = get('digest', 'state', 'epoch')
if held_state then
  return {held_digest == digest and 'held' or 'conflict', held_state, held_epoch}
end
local batch = first_field == 'batch' and first_value
if batch and fence ~= '' and redis.call('HGET', FEED .. batch, 'token') ~= fence then
  return {'fenced'}
end
if batch and mode == 'new' then
  local state, window, code, message =
    unpack(redis.call('HMGET', BATCH .. batch, 'state', 'window', 'code', 'message'))
  if state ~= 'open' then
    return {'closed', code or '', message or ''}
  end
  local under_way = redis.call('SCARD', ITEMS .. batch) + redis.call('XLEN', RESULTS .. batch)
  if under_way >= tonumber(window) then
    return {'full'}
  end
end
if mode ~= 'new' and redis.call('EXISTS', DELETED) == 1 then
  return {'deleted', '', '0'}
end
local limits = quota_limits()
local asked
if limits then
  local field = {}
  for i = FIRST_FIELD, #ARGV, 2 do
    field[ARGV[i]] = ARGV[i + 1]
  end
  asked = quotas().of_job(field.text, field.model, field.lane)
end
local at = now()
-- What was accepted once is not refused when it is written again.
local refusal = limits and mode == 'new' and quotas().refusal(limits, at, asked)
if refusal then
  return refusal
end
-- The first write: before Redis 7, a full server refuses this one and none that follow.
redis.call('HSET', RECORD, 'state', 'QUEUED', 'epoch', 1, 'created', at, 'updated', at,
  'digest', digest, 'queue', queue, 'seq', 0, 'story', history_line(at, 'submit', ''),
  unpack(ARGV, FIRST_FIELD))
if limits then
  quotas().reserve(limits, asked)
end
if mode == 'new' and redis.call('DEL', DELETED) == 1 then
  redis.call('HSET', RECORD, 'reborn', '1')
end
redis.call('ZADD', INDEX .. 'QUEUED', at, NAME)
if batch then
  redis.call('SADD', ITEMS .. batch, NAME)
  redis.call('HINCRBY', BATCH .. batch, 'submitted', 1)
end
if mode ~= 'claimed' then
  enqueue(queue, 'tail')
else
  -- The caller claims it next; should it die before that, the message comes later.
  redis.call('ZADD', DELAYED, at + UNCLAIMED, NAME)
end
return {'new', 'QUEUED', '1'}
