-- A new job and its message, or the job that is there already.
--
-- ARGV   2 digest   3 queue   4 how   5... fields of the record, in pairs; `batch` is the first
--        how: "new"; "again": by one who follows it and finds it lost; "claimed": by the worker
--        that runs it and claims it next, so without a message. The latter two bring nothing
--        back that was deleted.
-- Reply  {"new" | "held" | "conflict" | "deleted", state, epoch}; for an item of a batch also
--        {"full"}: as many wait as may, or {"closed", code, message}
local held = get('digest', 'state', 'epoch')
if held[2] then
  if held[1] ~= ARGV[2] then
    return {'conflict', held[2], held[3]}
  end
  return {'held', held[2], held[3]}
end
local batch = ARGV[5] == 'batch' and ARGV[6]
if batch and ARGV[4] == 'new' then
  local b = redis.call('HMGET', BATCH .. batch, 'state', 'window', 'code', 'message')
  if b[1] ~= 'open' then
    return {'closed', b[3] or '', b[4] or ''}
  end
  local outstanding = redis.call('SCARD', ITEMS .. batch) + redis.call('XLEN', RESULTS .. batch)
  if outstanding >= tonumber(b[2]) then
    return {'full'}
  end
end
if ARGV[4] == 'new' then
  redis.call('DEL', DELETED)
elseif redis.call('EXISTS', DELETED) == 1 then
  return {'deleted', '', '0'}
end
local at = now()
redis.call('HSET', RECORD, 'state', 'QUEUED', 'epoch', 1, 'created', at, 'updated', at,
  'digest', ARGV[2], 'queue', ARGV[3], 'seq', 0, 'story', line(at, 'submit', ''),
  unpack(ARGV, 5))
redis.call('ZADD', INDEX .. 'QUEUED', at, NAME)
if batch then
  redis.call('SADD', ITEMS .. batch, NAME)
  redis.call('HINCRBY', BATCH .. batch, 'submitted', 1)
end
if ARGV[4] ~= 'claimed' then
  enqueue(ARGV[3], false)
else
  -- Who asked for this claims it next; should it die before that, the message comes later.
  redis.call('ZADD', DELAYED, at + UNCLAIMED, NAME)
end
return {'new', 'QUEUED', '1'}
