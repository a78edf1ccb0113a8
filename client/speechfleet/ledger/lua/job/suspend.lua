-- Suspend a job: back to QUEUED, without a slot. It is resumed when the segment or the room that it
-- waits for is there, or when its time is over.
--
-- KEYS   record
-- ARGV   name; token; kind: "segment" | "rate_limit"; subject: the segment's hash | the name of the
--        rate limit; lane; delay: ms after which it looks again; hash of the segment that it
--        would synthesize next, or ""
-- Reply  1 suspended, 0 not the owner
-- include: prelude
local _, token, kind, subject, lane, delay, hash = unpack(ARGV)
if not owned(token) then
  return 0
end
local at = now()
local claims, tag = get('claims', 'tag')
local resume_at = at + tonumber(delay)

-- Others may store the text while this job waits for the account: then it need not wait.
local function await_segment(segment_hash)
  redis.call('SADD', WAITERS .. segment_hash, NAME)
  redis.call('PEXPIRE', WAITERS .. segment_hash, RECORD_TTL)
end

-- Take a place in the line of the rate limit. Namespaces take turns in it: a job comes one place
-- behind the last one of its own namespace, and not before those that have had their turn.
local function stand_in_line()
  local line, tags = LINE .. lane .. ':' .. subject, TAGS .. lane .. ':' .. subject
  if not tag then
    local turn = tonumber(redis.call('HGET', tags, '') or '0')
    local last = tonumber(redis.call('HGET', tags, NAMESPACE) or '0')
    tag = math.max(turn, last) + 1
    redis.call('HSET', tags, NAMESPACE, tag)
    redis.call('HSET', RECORD, 'tag', tag)
  end
  redis.call('ZADD', line, tag, NAME)
  redis.call('SADD', RATE_LIMITS, subject)
end

if kind == 'segment' then
  -- An execution that has stored it in the meantime will not resume anybody any more.
  if redis.call('EXISTS', SPEAKING .. subject) == 0 then
    resume_at = at
  end
  await_segment(subject)
else
  stand_in_line()
  if hash ~= '' then
    await_segment(hash)
  end
end
leave_worker()
move('RUNNING', 'suspend', at)
-- It has published nothing that it had not before: this claim does not count.
redis.call('HSET', RECORD, 'claims', tonumber(claims) - 1)
wait_until(resume_at)
empty_stream_under_pressure()
write_history(at, 'suspend', kind .. ' ' .. subject)
return 1
