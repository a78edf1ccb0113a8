-- Stop the job, wherever it is; its worker learns it from the channel or from its next write.
--
-- ARGV   2 reason   3 code points of the text that were heard; "": those of finished segments
-- Reply  {state there is now, "1" if this call did it}
local r = get('state', 'text_end', 'token')
if not r[1] then
  return {}
end
if not NEXT[r[1]]['cancel'] then
  return {r[1], '0'}
end
local heard = ARGV[3] ~= '' and ARGV[3] or r[2] or '0'
local at = now()
move(r[1], 'cancel', at)
leave_line()
leave_worker()
redis.call('HSET', RECORD, 'code', 'cancelled', 'message', ARGV[2], 'ended', at,
  'text_end', heard)
tell(at, 'cancel', ARGV[2])
end_epoch(at, 'kind', 'cancelled', 'reason', ARGV[2], 'text_end', heard)
-- With the token: the hint may come late, when a retry of the job runs already.
redis.call('PUBLISH', CANCELLED, NAME .. ' ' .. (r[3] or ''))
return {'CANCELLED', '1'}
