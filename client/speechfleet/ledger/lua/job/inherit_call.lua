-- Take over the count of a call that an earlier owner of this job made: its audio is in the store,
-- and its owner was lost before it recorded the segment.
--
-- That owner may wake up, and count the call as thrown away: it is counted once, by whoever comes
-- first. Where this run ends before it has recorded the segment, the next one inherits the call.
--
-- KEYS   record
-- ARGV   name; token; hash: of the segment
-- Reply  1 this run has to count it; 0 there was no such call, or it was counted
-- include: prelude
local _, token, hash = unpack(ARGV)
local SLEEP = 86400 -- s for which a lost owner may sleep
local owner, owner_token = string.match(redis.call('GET', SPEAKING .. hash) or '', '^(%S+) (%S+) ')
if owner ~= NAME or owner_token == token then
  return 0
end
local call = COUNTED .. owner_token .. ' ' .. hash
if redis.call('GET', call) == 'counted' then
  return 0
end
redis.call('SET', call, 'inherited', 'EX', SLEEP)
return 1
