-- Let a fallback voice speak a running job from its next segment on.
--
-- KEYS   record
-- ARGV   name; token; first: segment from which the new voice speaks; turns: all changes of voice, as
--        JSON; speaker: the model that spoke until now; reason; queue: of the new voice's provider;
--        leaves: "1": the job waits there for another worker, "0": it stays with this one
-- Reply  number of the next segment: done (now or earlier) where it is `first`; -1: not the owner
-- include: prelude
local _, token, first, turns, speaker, reason, queue, leaves = unpack(ARGV)
first = tonumber(first)
local epoch, spoken_by, own_queue, held_turns = get('epoch', 'spoken_by', 'queue', 'turns')
if held_turns == turns then
  return first
end
if not owned(token) then
  return -1
end
local at, recorded = now(), redis.call('LLEN', SEGMENTS .. epoch)
if recorded ~= first then
  return recorded
end
if not spoken_by and recorded > 0 then
  redis.call('HSET', RECORD, 'spoken_by', speaker)
end
-- The new voice has attempts of its own.
redis.call('HSET', RECORD, 'turns', turns, 'failures', 0)
redis.call('HDEL', RECORD, 'tag') -- its place in the line of an account that it leaves
write_history(at, 'fall_back', reason)
redis.call('HSETNX', RECORD, 'first_queue', own_queue)
if leaves == '1' then
  leave_worker()
  move('RUNNING', 'requeue', at)
  redis.call('HSET', RECORD, 'queue', queue)
  empty_stream_under_pressure()
  enqueue(queue, 'head')
else
  release_slot(own_queue)
  redis.call('HSET', RECORD, 'queue', queue)
  take_slot(queue)
end
return first
