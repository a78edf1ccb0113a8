-- Write new jobs and their messages, or find the jobs that are there already.
--
-- KEYS   the records
-- ARGV   name of the first job; mode; fence: token of the feeder that sends these items, or "";
--        then for each job: name; digest; queue; number of its fields; the fields of the record,
--        in pairs, `batch` first
--        mode: "new"; "again": by a client that follows the job and finds it lost; "claimed": by
--        the worker that runs it and claims it next, so without a message. The latter two do not
--        bring back what was deleted.
-- Reply  for each job {"new" | "held" | "conflict" | "deleted", state, epoch}; for an item of a
--        batch also {"full"}: as many wait as may, {"closed", code, message}: the batch takes no
--        items, or {"fenced"}: another worker feeds the batch now; a quota's refusal: see
--        `quotas.lua`
-- memory: refused when full
-- include: prelude
local _, mode, fence = unpack(ARGV, 1, 3)
local FIRST_JOB, ARGUMENTS_BEFORE_FIELDS = 4, 4
local at, limits = now(), quota_limits()
local quota = limits and quotas()

-- How many items a batch takes, and those that are new; or the reply for each where it takes none.
local function terms_of(batch)
  if fence ~= '' and redis.call('HGET', FEED .. batch, 'token') ~= fence then
    return {refusal = {'fenced'}}
  elseif mode ~= 'new' then
    return {room = math.huge, items = {}}
  end
  local state, window, code, message =
    unpack(redis.call('HMGET', BATCH .. batch, 'state', 'window', 'code', 'message'))
  if state ~= 'open' then
    return {refusal = {'closed', code or '', message or ''}}
  end
  local under_way = redis.call('SCARD', ITEMS .. batch) + redis.call('XLEN', RESULTS .. batch)
  return {room = tonumber(window) - under_way, items = {}}
end

-- What the job asks of its namespace's quota.
local function asked_of_quota(first_field, last_field)
  local field = {}
  for i = first_field, last_field, 2 do
    field[ARGV[i]] = ARGV[i + 1]
  end
  return quota.of_job(field.text, field.model, field.lane)
end

-- Tell whether any of the jobs was deleted lately: one question instead of one for each.
local function is_any_deleted()
  local prefix, first_of_job, marks = string.sub(DELETED, 1, -#JOB - 1), #RECORD - #JOB + 1, {}
  for i, record in ipairs(KEYS) do
    marks[i] = prefix .. string.sub(record, first_of_job)
  end
  return redis.call('EXISTS', unpack(marks)) > 0
end

-- Return the sequence number of the next message. They are taken together, as many as there are
-- jobs: those of jobs that are there already are left out.
local sequence
local function next_sequence()
  sequence = sequence and sequence + 1 or redis.call('INCRBY', SEQUENCE, #KEYS) - #KEYS + 1
  return sequence
end

-- What is written for all new jobs together: terms by batch; times and names for the index; names
-- and sequence numbers by queue, and the queues in order.
local batches, indexed, queued, queues = {}, {}, {}, {}
local has_deleted = is_any_deleted()

local function submit(digest, queue, first_field, last_field)
  local held_digest, held_state, held_epoch = get('digest', 'state', 'epoch')
  if held_state then
    return {held_digest == digest and 'held' or 'conflict', held_state, held_epoch}
  end
  local field, batch = unpack(ARGV, first_field, first_field + 1)
  local terms
  if field == 'batch' then
    batches[batch] = batches[batch] or terms_of(batch)
    terms = batches[batch]
    if terms.refusal then
      return terms.refusal
    elseif terms.room <= 0 then
      return {'full'}
    end
  end
  if mode ~= 'new' and has_deleted and redis.call('EXISTS', DELETED) == 1 then
    return {'deleted', '', '0'}
  end
  local asked = limits and asked_of_quota(first_field, last_field)
  -- What was accepted once is not refused when it is written again.
  local refusal = asked and mode == 'new' and quota.refusal(limits, at, asked)
  if refusal then
    return refusal
  end
  -- The first write: before Redis 7, a full server refuses this one and none that follow.
  local number = mode == 'claimed' and 0 or next_sequence()
  redis.call('HSET', RECORD, 'state', 'QUEUED', 'epoch', 1, 'created', at, 'updated', at,
    'digest', digest, 'queue', queue, 'seq', number, 'list', list_at(queue, 'tail'),
    'story', history_line(at, 'submit', ''), unpack(ARGV, first_field, last_field))
  if asked then
    quota.reserve(limits, asked)
  end
  if mode == 'new' and has_deleted and redis.call('DEL', DELETED) == 1 then
    redis.call('HSET', RECORD, 'reborn', '1')
  end
  if limits then -- they count the jobs that are queued, of this call, too
    redis.call('ZADD', INDEX .. 'QUEUED', at, NAME)
  else
    table.insert(indexed, at)
    table.insert(indexed, NAME)
  end
  if terms then
    table.insert(terms.items, NAME)
    terms.room = terms.room - 1
  end
  if mode == 'claimed' then
    -- The caller claims it next; should it die before that, the message comes later.
    redis.call('ZADD', DELAYED, at + UNCLAIMED, NAME)
    return {'new', 'QUEUED', '1'}
  end
  if not queued[queue] then
    queued[queue] = {names = {}, sequences = {}}
    table.insert(queues, queue)
  end
  table.insert(queued[queue].names, NAME)
  table.insert(queued[queue].sequences, number)
  return {'new', 'QUEUED', '1'}
end

local replies, first = {}, FIRST_JOB
while first <= #ARGV do
  local name, digest, queue, count = unpack(ARGV, first, first + ARGUMENTS_BEFORE_FIELDS - 1)
  local first_field = first + ARGUMENTS_BEFORE_FIELDS
  first = first_field + tonumber(count)
  use_job(name)
  table.insert(replies, submit(digest, queue, first_field, first - 1))
end
if #indexed > 0 then
  redis.call('ZADD', INDEX .. 'QUEUED', unpack(indexed))
end
for batch, terms in pairs(batches) do
  if terms.items and #terms.items > 0 then
    redis.call('SADD', ITEMS .. batch, unpack(terms.items))
    redis.call('HINCRBY', BATCH .. batch, 'submitted', #terms.items)
  end
end
for _, queue in ipairs(queues) do
  send_messages(queue, 'tail', queued[queue].names, queued[queue].sequences)
end
return replies
