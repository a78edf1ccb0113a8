-- Release segments that an execution has claimed and not stored: others may synthesize them.
--
-- KEYS   record
-- ARGV   name; token; then the hashes of the segments
-- include: prelude
local _, token = unpack(ARGV)
local FIRST_HASH = 3
for i = FIRST_HASH, #ARGV do
  local hash = ARGV[i]
  local claim = redis.call('GET', SPEAKING .. hash)
  if claim and string.find(claim, NAME .. ' ' .. token .. ' ', 1, true) == 1 then
    redis.call('DEL', SPEAKING .. hash)
    resume_waiters(hash)
  end
end
return 1
