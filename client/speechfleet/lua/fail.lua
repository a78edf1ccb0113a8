-- An attempt failed: another one later, or the end.
--
-- ARGV   2 token   3 code   4 message   5 "1": retryable   6 attempts that a job has
--        7 ms until the next attempt   8 account   9... usage, in pairs
-- Reply  "retry" | "failed" | "lost": not the owner
if not owned(ARGV[2]) then
  return 'lost'
end
local at = now()
add_usage(at, ARGV[8], 9)
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
