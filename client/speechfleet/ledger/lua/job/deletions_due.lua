-- Take the deleted jobs whose store has to be swept (again) now.
--
-- KEYS   deletions: zset of names by their next sweep; deleted_at: hash of names
-- ARGV   count: at most so many; lease: ms until another worker may take what is taken here
-- Reply  {name, ms since it was deleted, name, ...}
local DELETIONS, DELETED_AT = unpack(KEYS)
local count, lease = unpack(ARGV)
-- include: clock
local at, reply = now(), {}
local due = redis.call('ZRANGEBYSCORE', DELETIONS, '-inf', at, 'LIMIT', 0, count)
for _, name in ipairs(due) do
  local deleted = tonumber(redis.call('HGET', DELETED_AT, name) or at)
  redis.call('ZADD', DELETIONS, at + lease, name)
  table.insert(reply, name)
  table.insert(reply, math.max(0, at - deleted))
end
return reply
