-- Stop the job, wherever it is; its worker learns it from the channel or from its next write.
--
-- ARGV   2 reason   3 code points of the text that were heard; "": those of finished segments
--        4 "1": only if it waits
-- Reply  {state there is now, "1" if this call did it}
local state = get('state')[1]
if not state then
  return {}
end
if not NEXT[state]['cancel'] or (ARGV[4] == '1' and state ~= 'QUEUED') then
  return {state, '0'}
end
cancel(state, now(), 'cancelled', ARGV[2], ARGV[3])
return {'CANCELLED', '1'}
