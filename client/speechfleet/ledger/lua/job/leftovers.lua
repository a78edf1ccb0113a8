-- The segments that a deleted job has used in the store.
--
-- A script that includes this includes the prelude first.

-- Tell whether another job uses the segment, or is about to.
local function is_used(hash)
  if redis.call('EXISTS', USES .. hash) == 1 then
    return true
  end
  local claim = redis.call('GET', SPEAKING .. hash)
  local owner, token = string.match(claim or '', '^(%S+) (%S+) ')
  return owner ~= nil and (owner ~= NAME or owned(token))
end

-- {hashes that no other job uses, hashes that others use}
local function sort_leftovers()
  local unused, used = {}, {}
  for _, hash in ipairs(redis.call('SMEMBERS', LEFTOVERS)) do
    table.insert(is_used(hash) and used or unused, hash)
  end
  return {unused, used}
end
