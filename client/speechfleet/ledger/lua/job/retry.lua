-- Begin another life of a job that ended: the next epoch, with a stream of its own. Nobody
-- writes on at a session's text then: it speaks what there is.
--
-- KEYS   record
-- ARGV   name; takes: the segments that are spoken again, as JSON, or "" to keep what there is;
--        of_epoch: the epoch that the takes were chosen in, or ""
-- Reply  {state there is now, epoch, "1" if this call did it}; {}: no such job; a quota's refusal:
--        see `quotas.lua`
-- memory: refused when full
-- include: prelude
local state, epoch, queue, batch, first_queue, winner =
  get('state', 'epoch', 'queue', 'batch', 'first_queue', 'winner')
if not state then
  return {}
end
local _, takes, of_epoch = unpack(ARGV)
takes, of_epoch = takes or '', of_epoch or ''
if not NEXT[state]['retry'] or (of_epoch ~= '' and of_epoch ~= epoch) then
  return {state, epoch, '0'}
end
local at = now()
local limits = quota_limits()
local asked
if limits then
  local text, model, lane = get('text', 'model', 'lane')
  asked = quotas().of_job(text or '', model, lane)
  local refusal = quotas().refusal(limits, at, asked)
  if refusal then
    return refusal
  end
end
move(state, 'retry', at)
if winner then
  note_recorded(winner, epoch)
end
redis.call('PERSIST', RECORD)
redis.call('PERSIST', BEGUN)
redis.call('HDEL', RECORD, 'audio', 'rate', 'object', 'winner', 'media_type', 'bytes', 'code',
  'duration_ms', 'message', 'retryable', 'ended', 'started', 'attempts', 'losses', 'streak',
  'failures', 'text_end', 'stored', 'spoken_by', 'turns', 'first_queue', 'open', 'tag', 'gain',
  'suspect', 'quota')
if limits then
  quotas().reserve(limits, asked)
end
if takes ~= '' then
  redis.call('HSET', RECORD, 'takes', takes)
end
if first_queue then -- its own voice is tried again, by the workers that have it
  queue = first_queue
  redis.call('HSET', RECORD, 'queue', queue)
end
epoch = redis.call('HINCRBY', RECORD, 'epoch', 1)
if batch then
  redis.call('HINCRBY', BATCH .. batch, state, -1)
  redis.call('SREM', FAILURES .. batch, NAME)
  redis.call('SADD', ITEMS .. batch, NAME)
end
enqueue(queue, 'tail')
write_history(at, 'retry', '')
return {'QUEUED', tostring(epoch), '1'}
