-- Single-flight: a text that another job synthesizes at this moment, or has just stored, is not
-- synthesized again. The claim on a segment is a string: "<job> <token> <index>".
--
-- A script that includes this names the keys SPEAKING (string), USES and BEGUN (sets), HEARTBEATS
-- (hash).

local function is_alive(token)
  local boot = string.match(token or '', '^(.*):[^:]*$')
  return redis.call('HEXISTS', HEARTBEATS, boot or '') == 1
end

-- Find another job that has the segment. Returns
--   "stored"     another job has stored it, or its worker died and may have stored it before;
--   "in_flight"  another job synthesizes it now;
--   nil          this job may synthesize it.
-- The caller looks into the store after "stored". Where nothing is there, it asks again with
-- `missing` = "1". The claim of a dead worker is not replaced before: when the other job runs
-- again, the claim tells it that the dead worker's call is still to be counted.
local function find_other(name, token, index, missing)
  if missing ~= '1' and redis.call('EXISTS', USES) == 1 then
    return 'stored'
  end
  local claim = redis.call('GET', SPEAKING)
  if not claim then
    return nil
  end
  local owner, owner_token, owner_index = string.match(claim, '^(%S+) (%S+) (%S+)$')
  local own = owner == name and (owner_token ~= token or owner_index == index)
  if own then
    return nil
  elseif is_alive(owner_token) then
    return 'in_flight'
  end
  return missing ~= '1' and 'stored' or nil
end

-- Claim the segment, and remember with the job that its audio may get into the store.
local function claim_segment(name, token, index, lifetime, hash)
  redis.call('SET', SPEAKING, name .. ' ' .. token .. ' ' .. index, 'PX', lifetime)
  redis.call('SADD', BEGUN, hash)
  -- The job may be gone: a worker that lost it asks for the call that it was about to make.
  redis.call('PEXPIRE', BEGUN, @RECORD_TTL@)
end
