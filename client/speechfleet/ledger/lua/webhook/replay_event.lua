-- Queue a dead letter once more, behind what its subject has in the queue.
--
-- KEYS   webhooks of the namespace
-- ARGV   name of the webhook; letter: as it stands in the list of dead letters
-- Reply  1 done, 0 it is no longer there
-- include: clock
@KEYS@
-- include: webhooks
local hook, letter = unpack(ARGV)
if redis.call('LREM', WEBHOOK_DEAD .. hook, 1, letter) == 0 then
  return 0
end
local at, content = now(), cjson.decode(letter)
webhooks().append(hook, content.subject, string.format('0 %d %s', at, content.event), at)
return 1
