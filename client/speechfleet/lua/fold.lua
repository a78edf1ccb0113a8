-- A batch's reader has written down how this item ended: entry and record may go. A failed job's
-- record stays for as long as any record does: it can be retried.
--
-- ARGV   2 batch   3 id of the entry   4 epoch that it tells of
-- Reply  1 the record went, 0 it stays or was gone
redis.call('XDEL', RESULTS .. ARGV[2], ARGV[3])
local r = get('state', 'epoch', 'batch')
if r[3] ~= ARGV[2] or r[2] ~= ARGV[4] or NEXT[r[1]]['cancel'] or r[1] == 'FAILED' then
  return 0
end
erase(r[1], r[2])
if r[1] == 'CANCELLED' then
  -- As if it had never been submitted: it may be once more.
  redis.call('HINCRBY', BATCH .. ARGV[2], 'CANCELLED', -1)
  redis.call('HINCRBY', BATCH .. ARGV[2], 'submitted', -1)
end
return 1
