-- Erase everything that Redis holds of a job that has ended.
--
-- Reply  hashes of the segments that no other job uses; "running" if it has not ended
local r = get('state', 'epoch')
if not r[1] then
  return {}
end
if NEXT[r[1]]['cancel'] then
  return 'running'
end
local orphans = erase(r[1], r[2])
redis.call('SET', DELETED, 1, 'EX', DELETED_TTL)
return orphans
