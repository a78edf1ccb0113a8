-- End an attempt that failed: another one follows later, or the job ends.
--
-- KEYS   record
-- ARGV   name; token; code; message; retryable: "1" or "0";
--        max_attempts: failures in a row, without a new segment, after which the job fails;
--        delay: ms until the next attempt; account;
--        of_account: "1" where every job of this account would fail of it;
--        then the usage, in pairs
-- Reply  "retry" | "failed" | "withdrawn": its batch is stopped | "lost": not the owner
-- include: prelude
local _, token, code, reason, retryable, max_attempts, delay, account, of_account = unpack(ARGV)
local FIRST_USAGE = 10
if not owned(token) then
  return 'lost'
end
local at = now()
add_usage(at, account, FIRST_USAGE)
local batch = of_account == '1' and get('batch')
if batch then
  -- One clear message instead of a hundred thousand failures; the item can be spoken later.
  if redis.call('HGET', BATCH .. batch, 'state') == 'open' then
    redis.call('HSET', BATCH .. batch, 'state', 'stopped', 'code', code, 'message', reason)
  end
  cancel('RUNNING', at, code, reason)
  return 'withdrawn'
end
redis.call('HINCRBY', RECORD, 'attempts', 1)
local failures = redis.call('HINCRBY', RECORD, 'failures', 1)
redis.call('HSET', RECORD, 'code', code, 'message', reason, 'retryable', retryable)
leave_worker()
if retryable == '1' and failures < tonumber(max_attempts) then
  move('RUNNING', 'back_off', at)
  wait_until(at + tonumber(delay))
  empty_stream_under_pressure()
  write_history(at, 'back_off', code .. ': ' .. reason)
  return 'retry'
end
move('RUNNING', 'fail', at)
redis.call('HSET', RECORD, 'ended', at)
write_history(at, 'fail', code .. ': ' .. reason)
end_epoch(at, 'kind', 'failed', 'code', code, 'message', reason, 'retryable', retryable)
return 'failed'
