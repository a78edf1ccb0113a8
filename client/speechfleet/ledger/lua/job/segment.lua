-- Record a segment that is stored: a later attempt goes on from here.
--
-- KEYS   record
-- ARGV   name; token; then the segment, as of `segments.lua`
-- Reply  1 done, now or earlier; 0 segments before it are missing; -1 not the owner
-- include: prelude
-- include: segments
local _, token, index = unpack(ARGV)
local FIRST_OF_SEGMENT = 3
if not owned(token) then
  return has_recorded(token, index) and 1 or -1
end
return record_segment(FIRST_OF_SEGMENT)
