-- Put a running job back into its queue: handed over by its owner, or taken from a dead one.
--
-- KEYS   record
-- ARGV   name; by: "token" | "boot", what names the owner; owner: the token, or the dead boot;
--        reason; max_losses: losses in a row after which the job fails;
--        place: "head" of the queue | "front" of its namespace's jobs, where it gave way to others
-- Reply  "queued" | "failed" | "kept": it is not (or no longer) theirs
-- include: prelude
local _, by, owner, reason, max_losses, place = unpack(ARGV)
local state, token, boot, queue = get('state', 'token', 'boot', 'queue')
local current = by == 'token' and token or boot
if state ~= 'RUNNING' or current ~= owner then
  if by == 'boot' then
    redis.call('SREM', RUNNING .. owner, NAME)
  end
  return 'kept'
end
local at = now()
dismiss_worker()
if by == 'boot' then
  redis.call('HINCRBY', RECORD, 'losses', 1)
  if redis.call('HINCRBY', RECORD, 'streak', 1) >= tonumber(max_losses) then
    local message = 'every worker that ran this job died'
    move('RUNNING', 'fail', at)
    redis.call('HSET', RECORD, 'code', 'worker_lost', 'message', message, 'retryable', '0',
      'ended', at)
    write_history(at, 'fail', 'worker_lost: ' .. message)
    end_epoch(at, 'kind', 'failed', 'code', 'worker_lost', 'message', message, 'retryable', '0')
    return 'failed'
  end
end
local event = by == 'boot' and 'recover' or 'requeue'
move('RUNNING', event, at)
empty_stream_under_pressure()
write_history(at, event, reason)
enqueue(queue, place)
return 'queued'
