-- What every job script but publish.lua and rewind.lua begins with.
--
-- KEYS   1 record; the other keys of the job follow from its name (keys.py has the patterns):
--        RECORD    hash                     STREAMS   prefix, + epoch: stream
--        SEGMENTS  prefix, + epoch: list    INDEX     prefix, + state: zset
--        PENDING   prefix, + list: zset     RUNNING   prefix, + boot: set
--        USAGE     prefix, + day:account    USES      prefix, + hash: set
--        DELAYED   zset                     EXPIRING  zset
--        BEATS     hash                     DELETED   string
--        LISTS     set                      SEQUENCE, BYTES  counters
--        WORKER    prefix, + boot: list (a queue)
--        BATCH     prefix, + batch: hash    ITEMS     prefix, + batch: set
--        RESULTS   prefix, + batch: stream  FAILURES  prefix, + batch: set
--        SPEAKING  prefix, + hash: string   AWAITED   prefix, + hash: set
--        LINE      prefix, + lane:budget: zset        BUDGETS   set
--        ENDED, OPENED, CANCELLED  channels
-- ARGV   1 name of the job, "<namespace>/<id>"; the rest stands in each script's own header
--
-- What stands between @ is filled in by ledger/scripts.py when it loads the script.
local NAME = ARGV[1]
@KEYS@
local NEXT = @TRANSITIONS@
local BEHIND = '@BEHIND@' -- kombu's suffix of the list that is popped after the head's
local STREAM_TTL, RECORD_TTL = @STREAM_TTL@, @RECORD_TTL@
local STORY_BYTES = 8000
local DELETED_TTL = 3600 -- s during which whoever still runs or follows a job may ask for it
local UNCLAIMED = 3000 -- ms that a record without a message may wait for its claim

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function get(...)
  return redis.call('HMGET', RECORD, ...)
end

local function line(at, event, detail)
  return string.format('%d %s %s\n', at, event, (string.gsub(detail, '%c', ' ')))
end

local function tell(at, event, detail)
  local story = redis.call('HGET', RECORD, 'story') or ''
  if #story > STORY_BYTES then
    local cut = string.find(story, '\n', #story - STORY_BYTES / 2, true)
    story = string.sub(story, cut + 1)
  end
  redis.call('HSET', RECORD, 'story', story .. line(at, event, detail))
end

-- The state that the event leads to, with the index kept; nil where the table has none.
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

local function message(task, sequence, queue, priority)
  return @MESSAGE@
end

-- A message with a new sequence number. The head of the line is a list of its own (kombu's
-- priority 0), so that within each list the sequence only grows from the oldest message on:
-- the rule for lost messages depends on it.
local function enqueue(queue, at_head)
  local sequence = redis.call('INCR', SEQUENCE)
  local list = at_head and queue or queue .. BEHIND
  redis.call('HSET', RECORD, 'seq', sequence, 'list', list)
  redis.call('ZADD', PENDING .. list, sequence, NAME)
  redis.call('SADD', LISTS, list)
  redis.call('LPUSH', list, message('@SPEAK@', sequence, queue, at_head and '0' or '3'))
end

local function leave_line()
  local list = redis.call('HGET', RECORD, 'list')
  if list then
    redis.call('ZREM', PENDING .. list, NAME)
  end
  redis.call('ZREM', DELAYED, NAME)
end

local function leave_worker()
  local boot = redis.call('HGET', RECORD, 'boot')
  if boot then
    redis.call('SREM', RUNNING .. boot, NAME)
  end
  redis.call('HDEL', RECORD, 'boot', 'token', 'route')
end

-- An item of a batch has ended: it is counted, and told to whoever writes the batch's manifest.
local TOLD = {'epoch', 'state', 'object', 'media_type', 'bytes', 'duration_ms', 'rate', 'model',
  'voice', 'attempts', 'code', 'message', 'usage.characters', 'usage.billed', 'usage.cached',
  'usage.tokens_in', 'usage.tokens_out', 'usage.calls', 'usage.audio_ms'}
local function settle(at, batch)
  local result, entry = {}, {'name', NAME}
  for i, value in ipairs(redis.call('HMGET', RECORD, unpack(TOLD))) do
    if value then
      result[TOLD[i]] = value
      table.insert(entry, TOLD[i])
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

-- One terminal entry, and everything of this epoch begins to expire.
local function end_epoch(at, ...)
  local r = get('epoch', 'streamed', 'batch')
  local stream, segments = STREAMS .. r[1], SEGMENTS .. r[1]
  redis.call('XADD', stream, '*', ...)
  redis.call('PEXPIRE', stream, STREAM_TTL)
  if tonumber(r[2] or '0') > 0 then
    redis.call('ZADD', EXPIRING, at + STREAM_TTL, stream .. '|' .. r[2])
  end
  redis.call('PEXPIRE', RECORD, RECORD_TTL)
  redis.call('PEXPIRE', segments, RECORD_TTL)
  redis.call('PUBLISH', ENDED, redis.call('HGET', RECORD, 'state'))
  if r[3] then
    settle(at, r[3])
  end
end

-- Name and number pairs from ARGV[first] on, added to the job's, the batch's and the day's sums.
local function add_usage(at, account, first)
  local sums = USAGE .. math.floor(at / 86400000) .. ':' .. account
  local batch = redis.call('HGET', RECORD, 'batch')
  for i = first, #ARGV, 2 do
    redis.call('HINCRBY', RECORD, 'usage.' .. ARGV[i], ARGV[i + 1])
    redis.call('HINCRBY', sums, ARGV[i], ARGV[i + 1])
    if batch then
      redis.call('HINCRBY', BATCH .. batch, 'usage.' .. ARGV[i], ARGV[i + 1])
    end
  end
end

-- From QUEUED or RUNNING, for good; whoever runs it learns it from the channel. `heard`: code
-- points of the text; without it those of finished segments.
local function cancel(state, at, code, reason, heard)
  local r = get('text_end', 'token')
  heard = heard and heard ~= '' and heard or r[1] or '0'
  move(state, 'cancel', at)
  leave_line()
  leave_worker()
  redis.call('HSET', RECORD, 'code', code, 'message', reason, 'ended', at, 'text_end', heard)
  tell(at, 'cancel', reason)
  end_epoch(at, 'kind', 'cancelled', 'reason', reason, 'text_end', heard)
  -- With the token: the hint may come late, when a retry of the job runs already.
  redis.call('PUBLISH', CANCELLED, NAME .. ' ' .. (r[2] or ''))
end

-- Everything of a job that has ended; the hashes of segments that no other job uses.
local function erase(state, epochs)
  local orphans = {}
  for epoch = 1, tonumber(epochs) do
    for _, segment in ipairs(redis.call('LRANGE', SEGMENTS .. epoch, 0, -1)) do
      local hash = cjson.decode(segment)[6]
      redis.call('SREM', USES .. hash, NAME)
      if redis.call('EXISTS', USES .. hash) == 0 then
        table.insert(orphans, hash)
      end
    end
    redis.call('DEL', STREAMS .. epoch, SEGMENTS .. epoch)
  end
  redis.call('ZREM', INDEX .. state, NAME)
  redis.call('DEL', RECORD)
  return orphans
end

-- A segment was stored, or will not be by whoever spoke it: jobs that wait for it look again.
local function wake(hash)
  for _, name in ipairs(redis.call('SMEMBERS', AWAITED .. hash)) do
    redis.call('ZADD', DELAYED, 'XX', 0, name)
  end
  redis.call('DEL', AWAITED .. hash)
end

-- Whether the execution with this token still owns the job.
local function owned(token)
  local r = get('state', 'token')
  return r[1] == 'RUNNING' and r[2] == token
end
