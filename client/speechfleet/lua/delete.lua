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
local orphans = {}
for epoch = 1, tonumber(r[2]) do
  for _, segment in ipairs(redis.call('LRANGE', SEGMENTS .. epoch, 0, -1)) do
    local uses = USES .. cjson.decode(segment)[6]
    redis.call('SREM', uses, NAME)
    if redis.call('SCARD', uses) == 0 then
      table.insert(orphans, cjson.decode(segment)[6])
    end
  end
  redis.call('DEL', STREAMS .. epoch, SEGMENTS .. epoch)
end
redis.call('ZREM', INDEX .. r[1], NAME)
redis.call('DEL', RECORD)
redis.call('SET', DELETED, 1, 'EX', DELETED_TTL)
return orphans
