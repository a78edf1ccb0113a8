-- Back to QUEUED, out of every slot, until what the job waits for is there; to be woken from
-- the outside, at the latest when its time is over.
--
-- ARGV   2 token   3 "segment" | "budget"   4 its hash | the budget's name   5 lane
--        6 ms after which it looks again
-- Reply  1 parked, 0 not the owner
if not owned(ARGV[2]) then
  return 0
end
local at = now()
local r = get('created', 'claims')
local again = at + tonumber(ARGV[6])
if ARGV[3] == 'segment' then
  -- Whoever has stored it in the meantime will not wake anybody any more.
  if redis.call('EXISTS', SPEAKING .. ARGV[4]) == 0 then
    again = at
  end
  redis.call('SADD', AWAITED .. ARGV[4], NAME)
  redis.call('PEXPIRE', AWAITED .. ARGV[4], RECORD_TTL)
else
  redis.call('ZADD', LINE .. ARGV[5] .. ':' .. ARGV[4], r[1], NAME)
  redis.call('SADD', BUDGETS, ARGV[4])
end
leave_worker()
move('RUNNING', 'park', at)
-- It has published nothing that it had not before: this claim does not count.
redis.call('HSET', RECORD, 'seq', 0, 'claims', tonumber(r[2]) - 1)
redis.call('ZADD', DELAYED, again, NAME)
tell(at, 'park', ARGV[3] .. ' ' .. ARGV[4])
return 1
