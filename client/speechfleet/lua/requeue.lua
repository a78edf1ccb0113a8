-- Back to the head of the line: handed over by its owner, or taken from a dead one.
--
-- ARGV   2 "token" | "boot": what names the owner   3 the token, or the dead boot
--        4 reason   5 losses in a row after which the job fails
-- Reply  "queued" | "failed" | "kept": it is not (or no longer) theirs
local r = get('state', 'token', 'boot', 'queue')
local mine = ARGV[2] == 'token' and r[2] or r[3]
if r[1] ~= 'RUNNING' or mine ~= ARGV[3] then
  if ARGV[2] == 'boot' then
    redis.call('SREM', RUNNING .. ARGV[3], NAME)
  end
  return 'kept'
end
local at = now()
leave_worker()
if ARGV[2] == 'boot' then
  redis.call('HINCRBY', RECORD, 'losses', 1)
  if redis.call('HINCRBY', RECORD, 'streak', 1) >= tonumber(ARGV[5]) then
    local message = 'every worker that ran this job died'
    move('RUNNING', 'fail', at)
    redis.call('HSET', RECORD, 'code', 'worker_lost', 'message', message, 'retryable', '0',
      'ended', at)
    tell(at, 'fail', 'worker_lost: ' .. message)
    end_epoch(at, 'kind', 'failed', 'code', 'worker_lost', 'message', message, 'retryable', '0')
    return 'failed'
  end
end
move('RUNNING', ARGV[2] == 'boot' and 'recover' or 'requeue', at)
tell(at, ARGV[2] == 'boot' and 'recover' or 'requeue', ARGV[4])
enqueue(r[4], true)
return 'queued'
