-- The common part of the scripts about one job.
--
-- KEYS   record; the other keys follow from the job's name (ledger/keys.py has the patterns)
-- ARGV   name of the job, "<namespace>/<id>"; then what each script's own header lists
--
-- The text between @ signs is filled in by ledger/scripts.py when it loads the script.
-- include: clock
@KEYS@
-- include: stream_sizes
-- include: streams
-- include: minutes
local NEXT = @TRANSITIONS@
local BEHIND = '@BEHIND@' -- kombu's suffix of the list that is popped after the head's
local STREAM_TTL, RECORD_TTL = @STREAM_TTL@, @RECORD_TTL@ -- ms
local USAGE_TTL = @USAGE_TTL@ -- s
local STREAM_PRESSURE = @STREAM_BYTES@ / 2 -- bytes, above which a suspended job keeps no audio
local HISTORY_BYTES = 8000
local REPEATED_TTL = 600 -- s: far longer than a command is repeated
local DELETED_TTL = 3600 -- s, for which a worker or a follower of the job may ask for it
local UNCLAIMED = 3000 -- ms that a record without a message may wait for its claim
local HEAD = 4503599627370496 -- 2^52: jobs at the head rank this far before the others
local HELD_SLOT = 4294967296 -- 2^32: a slot that is held outweighs all turns

-- Values of the record's fields; false where a field is missing.
local function get(...)
  return unpack(redis.call('HMGET', RECORD, ...))
end

-- include: quotas
-- include: webhooks

local function history_line(at, event, detail)
  return string.format('%d %s %s\n', at, event, (string.gsub(detail, '%c', ' ')))
end

-- Add an event to the job's history; the oldest half is dropped when it gets too long.
local function write_history(at, event, detail)
  local history = redis.call('HGET', RECORD, 'story') or ''
  if #history > HISTORY_BYTES then
    local line_end = string.find(history, '\n', #history - HISTORY_BYTES / 2, true)
    history = string.sub(history, line_end + 1)
  end
  redis.call('HSET', RECORD, 'story', history .. history_line(at, event, detail))
end

-- Change the state as the event says, with the index; return nil where the table has no way.
local function move(state, event, at)
  local to = NEXT[state] and NEXT[state][event]
  if not to then
    return nil
  end
  redis.call('HSET', RECORD, 'state', to, 'updated', at)
  redis.call('ZREM', INDEX .. state, NAME)
  redis.call('ZADD', INDEX .. to, at, NAME)
  return to
end

local function message(name, task, sequence, queue, priority)
  return @MESSAGE@
end

-- Rank a namespace among those that wait in a queue: the fewer of its jobs run, the sooner is its
-- turn, and among equals that of the one whose last turn, or coming, is longest ago.
local function rank_in_turns(queue)
  local running = tonumber(redis.call('HGET', HELD .. queue, NAMESPACE) or '0')
  local score = running * HELD_SLOT + redis.call('INCR', TURN)
  redis.call('ZADD', TURNS .. queue, score, NAMESPACE)
end

local function is_in_turns(queue)
  return redis.call('ZSCORE', TURNS .. queue, NAMESPACE)
end

-- Count a job of the namespace that runs, 1 or -1.
local function hold_slot(queue, change)
  if redis.call('HINCRBY', HELD .. queue, NAMESPACE, change) <= 0 then
    redis.call('HDEL', HELD .. queue, NAMESPACE)
  end
end

local function leave_turns(queue, namespace)
  if redis.call('ZCARD', WAITING .. queue .. ':' .. namespace) == 0 then
    redis.call('ZREM', TURNS .. queue, namespace)
  end
end

-- The list of messages of a queue that a job waits with.
local function list_at(queue, place)
  return place == 'head' and queue or queue .. BEHIND
end

-- Send a message for each of some jobs of the namespace, and let the jobs wait in their
-- namespace's order. Their records name the list, and these sequence numbers, in ascending order.
--
-- A message only says that there is work in its queue: see `claim.lua`. The head of a queue is a
-- list of its own (kombu's priority 0), so that within each list the sequence only grows from
-- the oldest message on: the rule for lost messages depends on it.
--
-- `place`: "head": before all others; "front": the first of its namespace, but with no place before
-- other queues; "tail": behind the others of its namespace.
local function send_messages(queue, place, names, sequences)
  local list, priority = list_at(queue, place), place == 'head' and '0' or '3'
  local pending, waiting, messages = {}, {}, {}
  for i, name in ipairs(names) do
    local sequence = sequences[i]
    table.insert(pending, sequence)
    table.insert(pending, name)
    table.insert(waiting, place == 'tail' and sequence or sequence - HEAD)
    table.insert(waiting, name)
    table.insert(messages, message(name, '@SPEAK@', sequence, queue, priority))
  end
  redis.call('ZADD', PENDING .. list, unpack(pending))
  redis.call('SADD', LISTS, list)
  if redis.call('ZADD', WAITING .. queue .. ':' .. NAMESPACE, 'NX', unpack(waiting)) > 0
      and not is_in_turns(queue) then
    rank_in_turns(queue)
  end
  redis.call('LPUSH', list, unpack(messages))
end

local function enqueue(queue, place)
  local sequence = redis.call('INCR', SEQUENCE)
  redis.call('HSET', RECORD, 'seq', sequence, 'list', list_at(queue, place))
  send_messages(queue, place, {NAME}, {sequence})
end

-- Take the job's message off the books; the job keeps its place among those of its namespace.
local function drop_message()
  local list = get('list')
  if list then
    redis.call('ZREM', PENDING .. list, NAME)
  end
  redis.call('ZREM', DELAYED, NAME)
end

local function leave_queue()
  drop_message()
  local queue = get('queue')
  if queue and redis.call('ZREM', WAITING .. queue .. ':' .. NAMESPACE, NAME) == 1 then
    leave_turns(queue, NAMESPACE)
  end
end

local function take_slot(queue)
  hold_slot(queue, 1)
  if is_in_turns(queue) then
    rank_in_turns(queue)
  end
end

local function release_slot(queue)
  hold_slot(queue, -1)
  if is_in_turns(queue) then
    redis.call('ZINCRBY', TURNS .. queue, -HELD_SLOT, NAMESPACE)
  end
end

local function leave_worker()
  local boot, queue, route = get('boot', 'queue', 'route')
  if route then
    -- Else its other sessions got no nudge: one is out for all, until the worker has looked.
    redis.call('SREM', NUDGED .. boot, NAME)
  end
  if boot then
    redis.call('SREM', RUNNING .. boot, NAME)
    release_slot(queue)
  end
  redis.call('HDEL', RECORD, 'boot', 'token', 'route')
end

-- Keep the number of segments that an execution recorded, beyond its right to the job: it may not
-- know of the last one, because the reply did not arrive.
local function note_recorded(token, epoch)
  redis.call('SET', RECORDED .. token, redis.call('LLEN', SEGMENTS .. epoch), 'EX', REPEATED_TTL)
end

-- Take the job from its owner, which may not know that yet.
local function dismiss_worker()
  local token, epoch = get('token', 'epoch')
  if token then
    note_recorded(token, epoch)
  end
  leave_worker()
end

-- Wait out of the queue until a time. Where memory is short, the stream keeps no audio
-- meanwhile: readers find what is stored in the store, and the rest will be made again.
local function wait_until(at)
  follow_clock(CLOCK, {DELAYED, EXPIRING})
  redis.call('HSET', RECORD, 'seq', 0)
  redis.call('ZADD', DELAYED, at, NAME)
end

local function empty_stream_under_pressure()
  if tonumber(redis.call('GET', BYTES) or '0') > STREAM_PRESSURE then
    trim(STREAMS .. get('epoch'), NO_LIMIT, NO_LIMIT)
  end
end

-- Count the end of a batch's item, and report it for the batch's manifest.
local REPORTED = {'epoch', 'state', 'object', 'media_type', 'bytes', 'duration_ms', 'rate',
  'model', 'voice', 'spoken_by', 'turns', 'attempts', 'code', 'message', 'usage.characters', 'usage.billed',
  'usage.cached', 'usage.tokens_in', 'usage.tokens_out', 'usage.calls', 'usage.audio_ms'}
local function report_item(at, batch)
  local result, entry = {}, {'name', NAME}
  for i, value in ipairs(redis.call('HMGET', RECORD, unpack(REPORTED))) do
    if value then
      result[REPORTED[i]] = value
      table.insert(entry, REPORTED[i])
      table.insert(entry, value)
    end
  end
  redis.call('XADD', RESULTS .. batch, '*', unpack(entry))
  redis.call('SREM', ITEMS .. batch, NAME)
  redis.call('HSET', BATCH .. batch, 'updated', at)
  redis.call('HINCRBY', BATCH .. batch, result.state, 1)
  if result.state == 'FAILED' then
    redis.call('SADD', FAILURES .. batch, NAME)
  elseif result.state == 'SUCCEEDED' and not result['usage.billed'] then
    redis.call('HINCRBY', BATCH .. batch, 'cached', 1)
  end
end

-- Count the end of a job, and the speech that it made.
local function count_end(at)
  local state, duration_ms = get('state', 'duration_ms')
  count_in_minute(at, state, 1)
  if duration_ms then
    count_in_minute(at, 'audio_ms', duration_ms)
  end
end

-- Write the terminal entry (its fields follow); everything of this epoch begins to expire.
local function end_epoch(at, ...)
  local epoch, batch, state, quota = get('epoch', 'batch', 'state', 'quota')
  local stream = STREAMS .. epoch
  if quota then
    quotas().rebook(quota, 0, 0)
  end
  redis.call('XADD', stream, '*', ...)
  redis.call('PEXPIRE', stream, STREAM_TTL)
  if bytes_of(stream) > 0 then
    redis.call('ZADD', EXPIRING, at + STREAM_TTL, stream)
  end
  redis.call('PEXPIRE', RECORD, RECORD_TTL)
  redis.call('PEXPIRE', SEGMENTS .. epoch, RECORD_TTL)
  redis.call('PEXPIRE', BEGUN, RECORD_TTL)
  redis.call('PUBLISH', ENDED, state)
  count_end(at)
  if batch then
    report_item(at, batch)
  end
  local hooks = redis.call('HVALS', WEBHOOKS .. NAMESPACE)
  if #hooks > 0 then
    local fields = {batch = batch or nil}
    for i, value in ipairs(redis.call('HMGET', RECORD, unpack(REPORTED))) do
      if value and REPORTED[i] ~= 'object' then
        fields[REPORTED[i]] = value
      end
    end
    webhooks().queue(hooks, at, 'job.' .. string.lower(state), NAME, fields)
  end
end

-- The model of an account, which is "<namespace>:<model>", both encoded.
local function model_of(account)
  return (string.gsub(string.match(account, ':(.*)$'), '%%(%x%x)', function(code)
    return string.char(tonumber(code, 16))
  end))
end

-- Remember the key of sums of a day, so that nobody has to search for it.
local function list_sums(at, account, sums)
  local used = USED .. math.floor(at / DAY) .. ':' .. string.match(account, '^[^:]*')
  if redis.call('SADD', used, sums) == 1 then
    redis.call('EXPIRE', used, USAGE_TTL)
  end
end

-- Add pairs of name and number, from ARGV[first] on, to the sums of job, batch and day.
local function add_usage(at, account, first)
  local sums = USAGE .. math.floor(at / DAY) .. ':' .. account
  local batch, quota = get('batch', 'quota')
  for i = first, #ARGV, 2 do
    local name, number = ARGV[i], ARGV[i + 1]
    if quota and name == 'billed' then
      local _, price = quotas().read(quota)
      quotas().count_billed(at, tonumber(number), model_of(account), price)
    end
    redis.call('HINCRBY', RECORD, 'usage.' .. name, number)
    redis.call('HINCRBY', sums, name, number)
    if batch then
      redis.call('HINCRBY', BATCH .. batch, 'usage.' .. name, number)
    end
  end
  redis.call('EXPIRE', sums, USAGE_TTL)
  list_sums(at, account, sums)
end

-- End a QUEUED or RUNNING job for good; its worker learns it from the channel. `heard`: code
-- points of the text; without it those of finished segments.
local function cancel(state, at, code, reason, heard)
  local text_end, token = get('text_end', 'token')
  heard = heard and heard ~= '' and heard or text_end or '0'
  move(state, 'cancel', at)
  leave_queue()
  dismiss_worker()
  redis.call('HSET', RECORD, 'code', code, 'message', reason, 'ended', at, 'text_end', heard)
  write_history(at, 'cancel', reason)
  end_epoch(at, 'kind', 'cancelled', 'reason', reason, 'text_end', heard)
  -- With the token: the news may come late, when a retry of the job runs already.
  redis.call('PUBLISH', CANCELLED, NAME .. ' ' .. (token or ''))
end

local HASH_PLACE = 6 -- in a segment's JSON array, see `StoredSegment.encode`
-- Erase what Redis holds of an ended job; return the hashes of all segments that it has used.
-- `winner`: the execution that ended it with success, where one did.
local function erase(state, epochs, winner)
  if winner then
    note_recorded(winner, epochs)
  end
  local hashes, seen = {}, {}
  local function used(hash)
    redis.call('SREM', USES .. hash, NAME)
    if not seen[hash] then
      seen[hash] = true
      table.insert(hashes, hash)
    end
  end
  for epoch = 1, tonumber(epochs) do
    for _, encoded in ipairs(redis.call('LRANGE', SEGMENTS .. epoch, 0, -1)) do
      local readable, segment = pcall(cjson.decode, encoded)
      if readable and type(segment) == 'table' and segment[HASH_PLACE] then
        used(segment[HASH_PLACE])
      end
    end
    redis.call('ZREM', EXPIRING, STREAMS .. epoch)
    remove_stream(STREAMS .. epoch)
    redis.call('DEL', SEGMENTS .. epoch)
  end
  for _, hash in ipairs(redis.call('SMEMBERS', BEGUN)) do
    used(hash)
  end
  redis.call('ZREM', INDEX .. state, NAME)
  redis.call('DEL', RECORD, BEGUN)
  return hashes
end

-- Remember that the store may hold this segment: a deletion of the job finds it.
local function remember_begun(hash)
  redis.call('SADD', BEGUN, hash)
  redis.call('PEXPIRE', BEGUN, RECORD_TTL)
end

-- Let the jobs that wait for this segment look again: it is stored, or nobody synthesizes it.
local function resume_waiters(hash)
  for _, name in ipairs(redis.call('SMEMBERS', WAITERS .. hash)) do
    redis.call('ZADD', DELAYED, 'XX', 0, name)
  end
  redis.call('DEL', WAITERS .. hash)
end

-- Tell whether the execution with this token still owns the job.
local function owned(token)
  local state, owner = get('state', 'token')
  return state == 'RUNNING' and owner == token
end

-- Tell whether this execution has recorded the segment with this index. It asks again where the
-- reply was lost, maybe after its job has ended, has begun another life or is gone.
local function has_recorded(token, index)
  if owned(token) then
    return redis.call('LLEN', SEGMENTS .. get('epoch')) > tonumber(index)
  end
  return get('winner') == token
    or tonumber(redis.call('GET', RECORDED .. token) or '0') > tonumber(index)
end
