-- Stop a job, wherever it is; its worker learns it from the channel or from its next write.
--
-- KEYS   record
-- ARGV   name; reason; heard: code points of the text that were heard, or "": those of finished
--        segments; only_queued: "1" where a running job shall go on
-- Reply  {state there is now, "1" if this call did it}; {}: no such job
-- include: prelude
local _, reason, heard, only_queued = unpack(ARGV)
local state = get('state')
if not state then
  return {}
end
if not NEXT[state]['cancel'] or (only_queued == '1' and state ~= 'QUEUED') then
  return {state, '0'}
end
cancel(state, now(), 'cancelled', reason, heard)
return {'CANCELLED', '1'}
