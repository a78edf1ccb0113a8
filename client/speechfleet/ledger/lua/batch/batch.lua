-- Bring a batch into a state; it is made where there is none.
--
-- KEYS   batch: hash; batches: zset; items; failures; results; feed; parts; feeds: set, a batch
--        that the fleet feeds is fed again once it is open
-- ARGV   name: namespace and batch, encoded; state; lifetime: ms after which all of it is gone,
--        "" never; expected: states, of which it must be in one, "" any or none; then further
--        fields, in pairs
-- Reply  1, or 0: it is in no expected state
@KEYS@
local BATCH, BATCHES, ITEMS, FAILURES, RESULTS, FEED, PARTS, FEEDS = unpack(KEYS)
local name, state, lifetime, expected = unpack(ARGV)
local FIRST_FIELD = 5
local RUNS = {validating = true, open = true}
-- include: clock
-- include: webhooks
local at = now()
local before = redis.call('HGET', BATCH, 'state')
if expected ~= '' and not (before and string.find(expected, before, 1, true)) then
  return 0
end
redis.call('HDEL', BATCH, 'code', 'message')
redis.call('HSET', BATCH, 'state', state, 'updated', at)
if redis.call('HSETNX', BATCH, 'created', at) == 1 then
  redis.call('ZADD', BATCHES, at, string.match(name, '/(.*)$'))
end
for i = FIRST_FIELD, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  redis.call('HSET', BATCH, field, value)
end
if state == 'open' then
  redis.call('HSETNX', BATCH, 'opened', at)
end
if state == 'validating' then
  redis.call('ZADD', VALIDATING, at, name)
  redis.call('SADD', UNLISTED, string.match(name, '/(.*)$'))
else
  redis.call('ZREM', VALIDATING, name)
end
local expires = redis.call('HGET', BATCH, 'expires')
if expires and RUNS[state] and RUNS[before or 'open'] then
  redis.call('ZADD', WINDOWS, expires, name)
elseif expires then
  redis.call('ZREM', WINDOWS, name)
  if RUNS[state] then
    redis.call('HDEL', BATCH, 'expires') -- it is opened once more, without a window
  end
end
if state == 'open' and redis.call('EXISTS', FEED) == 1 then
  redis.call('SADD', FEEDS, name)
end
for _, key in ipairs({BATCH, ITEMS, FAILURES, RESULTS, FEED, PARTS}) do
  if lifetime == '' then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIRE', key, lifetime)
  end
end
local hooks = redis.call('HVALS', WEBHOOKS .. NAMESPACE)
local is_over = state == 'ended' or state == 'cancelled' or state == 'expired'
  or (state == 'stopped' and before == 'validating')
if #hooks > 0 and state ~= before and is_over then
  local fields, counts = {}, redis.call('HGETALL', BATCH)
  for i = 1, #counts, 2 do
    fields[counts[i]] = counts[i + 1]
  end
  webhooks().queue(hooks, at, 'batch.ended', name, fields)
end
return 1
