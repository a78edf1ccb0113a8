-- Another life for a job that ended: the next epoch, with a stream of its own. Nobody writes on
-- at a session's text then: it speaks what there is.
--
-- Reply  {state there is now, epoch, "1" if this call did it}
local r = get('state', 'epoch', 'queue', 'batch')
if not r[1] then
  return {}
end
if not NEXT[r[1]]['retry'] then
  return {r[1], r[2], '0'}
end
local at = now()
move(r[1], 'retry', at)
redis.call('PERSIST', RECORD)
redis.call('HDEL', RECORD, 'audio', 'rate', 'object', 'winner', 'media_type', 'bytes', 'code',
  'duration_ms', 'message', 'retryable', 'ended', 'started', 'attempts', 'losses', 'streak',
  'text_end', 'streamed', 'trimmed', 'freed', 'open')
local epoch = redis.call('HINCRBY', RECORD, 'epoch', 1)
if r[4] then
  redis.call('HINCRBY', BATCH .. r[4], r[1], -1)
  redis.call('SREM', FAILURES .. r[4], NAME)
  redis.call('SADD', ITEMS .. r[4], NAME)
end
enqueue(r[3], false)
tell(at, 'retry', '')
return {'QUEUED', tostring(epoch), '1'}
