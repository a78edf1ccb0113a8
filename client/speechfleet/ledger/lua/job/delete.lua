-- Erase everything that Redis holds of a job that has ended, and plan the sweep of the store.
--
-- Its worker may be writing to the store at this moment, so the sweep is repeated for a while:
-- see `deletions_due.lua`. Until then the hashes of its segments are kept for it.
--
-- KEYS   record
-- ARGV   name
-- Reply  {hashes of segments that no other job uses, hashes of those that others use}, also of a
--        job that was deleted before; "running" if it has not ended
-- include: prelude
-- include: leftovers
local state, epochs, winner = get('state', 'epoch', 'winner')
if state and NEXT[state]['cancel'] then
  return 'running'
end
if redis.call('HEXISTS', QUOTA_OBJECTS .. NAMESPACE, NAME) == 1 then
  quotas().count_object(0)
end
if state then
  for _, hash in ipairs(erase(state, epochs, winner)) do
    redis.call('SADD', LEFTOVERS, hash)
  end
  redis.call('PEXPIRE', LEFTOVERS, RECORD_TTL)
  redis.call('SET', DELETED, 1, 'EX', DELETED_TTL)
  local at = now()
  redis.call('ZADD', DELETIONS, at, NAME)
  redis.call('HSET', DELETED_AT, NAME, at)
end
return sort_leftovers()
