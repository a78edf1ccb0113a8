-- Give the job to one execution. Only from QUEUED, or again to the very same token.
--
-- A session is pinned: its record tells the routing key of the queue that its worker alone reads.
--
-- ARGV   2 sequence of the message, "" for any   3 token   4 boot   5 "1": runs alone
--        6 highest record version that the worker reads   7 losses after which a job runs alone
-- Reply  {"granted", record, segments} | {"refused", why} | {"alone"} | {"gone"}
local r = get('state', 'seq', 'token', 'epoch', 'v', 'streak', 'batch', 'lane')
local state = r[1]
if not state then
  return {'gone'}
end
if tonumber(r[5] or '1') > tonumber(ARGV[6]) then
  return {'refused', 'newer record'}
end
if not (state == 'RUNNING' and r[3] == ARGV[3]) then
  if not NEXT[state]['claim'] then
    return {'refused', state}
  end
  if ARGV[2] ~= '' and ARGV[2] ~= r[2] then
    return {'refused', 'an older message'}
  end
  if r[7] then
    -- What stopped the batch would stop this item too: it goes back to whoever feeds the batch.
    local b = redis.call('HMGET', BATCH .. r[7], 'state', 'code', 'message')
    if b[1] == 'stopped' or b[1] == 'cancelled' then
      cancel(state, now(), b[2] or 'cancelled', b[3] or 'its batch was cancelled')
      return {'refused', 'its batch is ' .. b[1]}
    end
  end
  if ARGV[5] ~= '1' and tonumber(r[6] or '0') >= tonumber(ARGV[7]) then
    return {'alone'}
  end
  local at = now()
  leave_line()
  move(state, 'claim', at)
  redis.call('HSET', RECORD, 'token', ARGV[3], 'boot', ARGV[4])
  redis.call('HSETNX', RECORD, 'started', at)
  redis.call('HINCRBY', RECORD, 'claims', 1)
  redis.call('SADD', RUNNING .. ARGV[4], NAME)
  -- Whoever owns a job is watched, also one that was buried while it slept and woke to this.
  redis.call('HSETNX', BEATS, ARGV[4], 0)
  tell(at, 'claim', ARGV[3])
  if r[8] == 'session' then
    redis.call('HSET', RECORD, 'route', WORKER .. ARGV[4])
    redis.call('PUBLISH', OPENED, ARGV[4])
  end
end
return {'granted', redis.call('HGETALL', RECORD), redis.call('LRANGE', SEGMENTS .. r[4], 0, -1)}
