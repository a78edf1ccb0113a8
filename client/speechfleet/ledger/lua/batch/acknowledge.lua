-- Acknowledge how a batch's item ended: its entry and its record may go. A failed job's record
-- stays for as long as any record does: it can be retried.
--
-- KEYS   record
-- ARGV   name; batch; entry: its id; epoch that it tells of
-- Reply  1 the record went, 0 it stays or was gone
-- include: prelude
local _, batch, entry, epoch = unpack(ARGV)
redis.call('XDEL', RESULTS .. batch, entry)
local state, current_epoch, current_batch, winner = get('state', 'epoch', 'batch', 'winner')
if current_batch ~= batch or current_epoch ~= epoch or NEXT[state]['cancel']
    or state == 'FAILED' then
  return 0
end
erase(state, epoch, winner)
if state == 'CANCELLED' then
  -- As if it had never been submitted: it may be once more.
  redis.call('HINCRBY', BATCH .. batch, 'CANCELLED', -1)
  redis.call('HINCRBY', BATCH .. batch, 'submitted', -1)
end
return 1
