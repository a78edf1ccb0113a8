-- Give a job to one execution. Only from QUEUED, or again to the very same token.
--
-- A message of a queue only says that there is work. The namespaces share the slots: it is the turn
-- of the one with the fewest running jobs, and its first job is taken. The job that the message
-- was sent for then gets the message of the chosen one, so that each queued job still has exactly
-- one.
-- A session is pinned: its record names the queue that its worker alone reads.
--
-- KEYS   record of the job that the message names
-- ARGV   name of that job; queue of the message, or "": this very job; sequence of the message,
--        or "": any; token; boot; isolated: "1" if the process runs nothing else;
--        version: the highest record version that the worker reads;
--        losses: after so many in a row a job runs isolated
-- Reply  {"granted", name, record, segments} | {"refused", reason} | {"isolated", name}
--        | {"gone"}: no such job
-- include: prelude
local _, queue, sequence, token, boot, isolated, version, losses = unpack(ARGV)

-- The queued job whose message has this number, and the list that it was in.
local function job_of_message()
  for _, list in ipairs({queue, queue .. BEHIND}) do
    local name = unpack(redis.call('ZRANGEBYSCORE', PENDING .. list, sequence, sequence))
    if name then
      return name, list
    end
  end
end

-- Choose the job whose turn it is; nil where none waits.
local function next_in_turn()
  while true do
    local namespace = unpack(redis.call('ZRANGE', TURNS .. queue, 0, 0))
    if not namespace then
      return nil
    end
    local waiting = WAITING .. queue .. ':' .. namespace
    local name = unpack(redis.call('ZRANGE', waiting, 0, 0))
    if name then
      redis.call('ZREM', waiting, name)
      leave_turns(queue, namespace)
      return name
    end
    redis.call('ZREM', TURNS .. queue, namespace)
  end
end

-- Exchange the messages of two queued jobs: the chosen one has the message that came now.
local function exchange_messages(owner, list, chosen)
  local chosen_record = record_of(chosen)
  local other_list, other_sequence =
    unpack(redis.call('HMGET', chosen_record, 'list', 'seq'))
  if not other_list or not redis.call('ZSCORE', PENDING .. other_list, chosen) then
    return false
  end
  redis.call('ZREM', PENDING .. other_list, chosen)
  redis.call('ZREM', PENDING .. list, owner)
  redis.call('ZADD', PENDING .. other_list, other_sequence, owner)
  redis.call('ZADD', PENDING .. list, sequence, chosen)
  redis.call('HSET', record_of(owner), 'list', other_list, 'seq', other_sequence)
  redis.call('HSET', chosen_record, 'list', list, 'seq', sequence)
  return true
end

local function choose()
  local owner, list = job_of_message()
  if not owner then
    return false
  end
  local chosen = next_in_turn()
  while chosen and chosen ~= owner and not exchange_messages(owner, list, chosen) do
    chosen = next_in_turn() -- that one has no message: it is no longer queued
  end
  use_job(chosen or owner)
  return true
end

if queue ~= '' and sequence ~= '' and not choose() then
  return {'refused', 'an older message'}
end
local state, current, owner, epoch, record_version, streak, batch, lane, own_queue =
  get('state', 'seq', 'token', 'epoch', 'v', 'streak', 'batch', 'lane', 'queue')
if not state then
  return {'gone'}
end
if tonumber(record_version or '1') > tonumber(version) then
  return {'refused', 'newer record'}
end
if not (state == 'RUNNING' and owner == token) then
  if not NEXT[state]['claim'] then
    return {'refused', state}
  end
  if sequence ~= '' and sequence ~= current then
    return {'refused', 'an older message'}
  end
  if batch then
    -- What stopped the batch would stop this item too: it goes back to whoever feeds the batch.
    local batch_state, code, reason =
      unpack(redis.call('HMGET', BATCH .. batch, 'state', 'code', 'message'))
    if batch_state == 'stopped' or batch_state == 'cancelled' or batch_state == 'expired' then
      cancel(state, now(), code or 'cancelled', reason or 'its batch was cancelled')
      return {'refused', 'its batch is ' .. batch_state}
    end
  end
  if isolated ~= '1' and tonumber(streak or '0') >= tonumber(losses) then
    return {'isolated', NAME}
  end
  local at = now()
  leave_queue()
  move(state, 'claim', at)
  redis.call('HSET', RECORD, 'token', token, 'boot', boot)
  redis.call('HSETNX', RECORD, 'started', at)
  redis.call('HINCRBY', RECORD, 'claims', 1)
  redis.call('SADD', RUNNING .. boot, NAME)
  take_slot(own_queue)
  -- The heartbeat of a job's owner is watched. Its entry is gone where others took it for dead.
  redis.call('HSETNX', HEARTBEATS, boot, 0)
  write_history(at, 'claim', token)
  if lane == 'session' then
    redis.call('HSET', RECORD, 'route', WORKER .. boot)
    redis.call('PUBLISH', OPENED, boot)
  end
end
return {'granted', NAME, redis.call('HGETALL', RECORD),
  redis.call('LRANGE', SEGMENTS .. epoch, 0, -1)}
