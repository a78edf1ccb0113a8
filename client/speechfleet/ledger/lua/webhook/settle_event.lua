-- Record what came of sending the first event of a subject.
--
-- KEYS   webhooks of the namespace
-- ARGV   name of the webhook; subject; id of the event; outcome: "delivered" | "later" | "dead" |
--        "gone": dead, and the webhook is disabled; delay: ms until the next try; reason
-- Reply  1 done, 0 another worker did it before
-- include: clock
@KEYS@
-- include: webhooks
local hook, subject, id, outcome, delay, reason = unpack(ARGV)
local lines = redis.call('HGET', WEBHOOK_EVENTS .. hook, subject)
if not lines then
  return 0
end
local at = now()
local tries, since, event, rest = webhooks().first(lines)
if cjson.decode(event).id ~= id then
  return 0
end
webhooks().count(hook, outcome == 'delivered' and 'sent' or 'failed')
if outcome == 'later' then
  local line = string.format('%d %d %s', tries + 1, since, event)
  redis.call('HSET', WEBHOOK_EVENTS .. hook, subject, rest == '' and line or line .. '\n' .. rest)
  redis.call('ZADD', WEBHOOK_DUE .. hook, at + tonumber(delay), subject)
  return 1
end
if outcome ~= 'delivered' then
  webhooks().bury(hook, subject, event, reason, at)
end
webhooks().drop(hook, subject, rest, at)
if outcome == 'gone' then
  local hooks, field = WEBHOOKS .. NAMESPACE, string.match(hook, '/(.*)$')
  local encoded = redis.call('HGET', hooks, field)
  if encoded then
    local changed = cjson.decode(encoded)
    changed.disabled = reason
    redis.call('HSET', hooks, field, cjson.encode(changed))
  end
end
return 1
