-- Bring a batch into a state; it is made where there is none.
--
-- KEYS   batch: hash; batches: zset; items; failures; results; feed; parts; feeds: set, a batch
--        that the fleet feeds is fed again once it is open
-- ARGV   name: namespace and batch, encoded; state; lifetime: ms after which all of it is gone,
--        "" never; then further fields, in pairs
@KEYS@
local BATCH, BATCHES, ITEMS, FAILURES, RESULTS, FEED, PARTS, FEEDS = unpack(KEYS)
local name, state, lifetime = unpack(ARGV)
local FIRST_FIELD = 4
-- include: clock
-- include: webhooks
local at = now()
local before = redis.call('HGET', BATCH, 'state')
redis.call('HDEL', BATCH, 'code', 'message')
redis.call('HSET', BATCH, 'state', state, 'updated', at)
if redis.call('HSETNX', BATCH, 'created', at) == 1 then
  redis.call('ZADD', BATCHES, at, string.match(name, '/(.*)$'))
end
for i = FIRST_FIELD, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  redis.call('HSET', BATCH, field, value)
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
if #hooks > 0 and state ~= before and (state == 'ended' or state == 'cancelled') then
  local fields, counts = {}, redis.call('HGETALL', BATCH)
  for i = 1, #counts, 2 do
    fields[counts[i]] = counts[i + 1]
  end
  webhooks().queue(hooks, at, 'batch.ended', name, fields)
end
