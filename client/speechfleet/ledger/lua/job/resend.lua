-- Send a queued job's message once more: it was lost, or the next attempt is due.
--
-- KEYS   record
-- ARGV   name; sequence that the caller saw (0: no message is out, the job is delayed)
-- Reply  1 sent; 0 the job has moved on, or is not yet due
-- include: prelude
local _, seen = unpack(ARGV)
local state, sequence, queue = get('state', 'seq', 'queue')
if state ~= 'QUEUED' or sequence ~= seen then
  if state ~= 'QUEUED' then
    redis.call('ZREM', DELAYED, NAME)
  end
  return 0
end
local due = redis.call('ZSCORE', DELAYED, NAME)
if due and tonumber(due) > now() then
  return 0
end
drop_message()
enqueue(queue, 'head')
return 1
