-- What `take` and `speak` begin with: a text that another speaks at this moment, or has just
-- stored, must not be spoken. Who speaks it, its claim: "name token index".
local function alive(beats, token)
  return redis.call('HEXISTS', beats, string.match(token or '', '^(.*):[^:]*$') or '') == 1
end

-- "stored" or "spoken"; nil where this execution may have it. `missing` "1": the store has
-- nothing of it, whatever `uses` says.
local function taken(speaking, uses, beats, name, token, index, missing)
  if missing ~= '1' and redis.call('EXISTS', uses) == 1 then
    return 'stored'
  end
  local holder = redis.call('GET', speaking)
  if not holder then
    return nil
  end
  local its_name, its_token, its_index = string.match(holder, '^(%S+) (%S+) (%S+)$')
  local mine = its_name == name and (its_token ~= token or its_index == index)
  if not mine and alive(beats, its_token) then
    return 'spoken'
  end
end

local function take(speaking, name, token, index, ms)
  redis.call('SET', speaking, name .. ' ' .. token .. ' ' .. index, 'PX', ms)
end
