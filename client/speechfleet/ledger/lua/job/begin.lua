-- Remember that a segment of this job is about to get into the store, where no claim on it did: a
-- deletion of the job finds it, also when its worker dies before it is recorded.
--
-- KEYS   record
-- ARGV   name; token; hash
-- Reply  1 done, now or earlier; -1 not the owner
-- include: prelude
local _, token, hash = unpack(ARGV)
if not owned(token) then
  return -1
end
remember_begun(hash)
return 1
