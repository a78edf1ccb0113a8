-- An attempt failed: another one later, or the end.
--
-- ARGV   2 token   3 code   4 message   5 "1": retryable   6 attempts that a job has
--        7 ms until the next attempt   8 account   9 "1": every job of this account would fail
--        of it   10... usage, in pairs
-- Reply  "retry" | "failed" | "withdrawn": its batch is stopped | "lost": not the owner
if not owned(ARGV[2]) then
  return 'lost'
end
local at = now()
add_usage(at, ARGV[8], 10)
local batch = ARGV[9] == '1' and redis.call('HGET', RECORD, 'batch')
if batch then
  -- One clear message instead of a hundred thousand failures; the item can be spoken later.
  if redis.call('HGET', BATCH .. batch, 'state') == 'open' then
    redis.call('HSET', BATCH .. batch, 'state', 'stopped', 'code', ARGV[3], 'message', ARGV[4])
  end
  cancel('RUNNING', at, ARGV[3], ARGV[4])
  return 'withdrawn'
end
local attempts = redis.call('HINCRBY', RECORD, 'attempts', 1)
redis.call('HSET', RECORD, 'code', ARGV[3], 'message', ARGV[4], 'retryable', ARGV[5])
local again = ARGV[5] == '1' and attempts < tonumber(ARGV[6])
leave_worker()
if again then
  move('RUNNING', 'back_off', at)
  redis.call('HSET', RECORD, 'seq', 0)
  redis.call('ZADD', DELAYED, at + tonumber(ARGV[7]), NAME)
  tell(at, 'back_off', ARGV[3] .. ': ' .. ARGV[4])
  return 'retry'
end
move('RUNNING', 'fail', at)
redis.call('HSET', RECORD, 'ended', at)
tell(at, 'fail', ARGV[3] .. ': ' .. ARGV[4])
end_epoch(at, 'kind', 'failed', 'code', ARGV[3], 'message', ARGV[4], 'retryable', ARGV[5])
return 'failed'
