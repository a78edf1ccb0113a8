-- Take the events of one webhook that are due. They are due again after a while, should the worker
-- that takes them die.
--
-- KEYS   webhooks of the namespace
-- ARGV   name of the webhook, "<namespace>/<id>"; count: at most so many; lease: ms
-- Reply  {the webhook as JSON, then for each event: subject, tries, since, JSON}; {}: none is due
-- include: clock
@KEYS@
-- include: webhooks
local hook, count, lease = unpack(ARGV)
local PAGE = 1000 -- events of a disabled webhook that one call buries
local due, events = WEBHOOK_DUE .. hook, WEBHOOK_EVENTS .. hook
local encoded = redis.call('HGET', WEBHOOKS .. NAMESPACE, string.match(hook, '/(.*)$'))
if not encoded then
  redis.call('UNLINK', due, events, WEBHOOK_DEAD .. hook, WEBHOOK_SINCE .. hook,
    WEBHOOK_COUNTS .. hook)
  redis.call('SREM', WEBHOOKS_PENDING, hook)
  return {}
end
local at, disabled = now(), cjson.decode(encoded).disabled
if disabled ~= '' then
  for _, subject in ipairs(redis.call('ZRANGE', due, 0, PAGE - 1)) do
    local _, _, event, rest = webhooks().first(redis.call('HGET', events, subject))
    webhooks().bury(hook, subject, event, disabled, at)
    webhooks().drop(hook, subject, rest, at)
  end
end
local taken = {encoded}
for _, subject in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', at, 'LIMIT', 0, count)) do
  if disabled ~= '' then
    break
  end
  local tries, since, event = webhooks().first(redis.call('HGET', events, subject))
  redis.call('ZADD', due, at + lease, subject)
  for _, value in ipairs({subject, tries, since, event}) do
    table.insert(taken, value)
  end
end
if redis.call('EXISTS', due) == 0 then
  redis.call('SREM', WEBHOOKS_PENDING, hook)
end
return #taken > 1 and taken or {}
