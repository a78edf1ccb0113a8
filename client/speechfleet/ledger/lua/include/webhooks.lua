-- Events for the webhooks of a namespace, queued in the script that makes them happen.
--
-- A webhook has one queue for each subject (a job or a batch), so that the events of one come in
-- their order, and those of others need not wait for them. A queue is a field of one hash, an
-- event a line: "<tries> <since> <JSON>", where `since` is when it was queued.

local DEAD_LETTERS = 10000 -- of one webhook; the oldest go first

-- The functions about webhooks, by name. They are made only where a namespace has some: Lua would
-- make each of them anew in every run of a script.
local function webhooks()
  -- Put a line at the end of a subject's queue.
  local function append_event(hook, subject, line, at)
    local events = WEBHOOK_EVENTS .. hook
    local before = redis.call('HGET', events, subject)
    redis.call('HSET', events, subject, before and before .. '\n' .. line or line)
    redis.call('ZADD', WEBHOOK_DUE .. hook, 'NX', at, subject)
    redis.call('ZADD', WEBHOOK_SINCE .. hook, 'NX', at, subject)
    redis.call('SADD', WEBHOOKS_PENDING, hook)
  end

  -- Queue an event for each of these webhooks (as JSON) that wants it; `fields` tell about it.
  local function queue_event(hooks, at, kind, subject, fields)
    local id = 'msg_' .. redis.sha1hex(kind .. ' ' .. subject .. ' ' .. string.format('%d', at))
    local event = cjson.encode({id = id, type = kind, at = at, subject = subject, fields = fields})
    for _, encoded in ipairs(hooks) do
      local hook = cjson.decode(encoded)
      for _, wanted in ipairs(hook.events) do
        if wanted == kind and hook.disabled == '' then
          local line = string.format('0 %d %s', at, event)
          append_event(NAMESPACE .. '/' .. hook.id, subject, line, at)
        end
      end
    end
  end

  -- Tries, time, JSON and rest of a queue's first event.
  local function first_event(lines)
    local line, rest = string.match(lines, '^([^\n]*)\n?(.*)$')
    local tries, since, event = string.match(line, '^(%d+) (%d+) (.*)$')
    return tonumber(tries), tonumber(since), event, rest
  end

  -- Take the first event off a queue; the next one is due at once.
  local function drop_first(hook, subject, rest, at)
    if rest == '' then
      redis.call('HDEL', WEBHOOK_EVENTS .. hook, subject)
      redis.call('ZREM', WEBHOOK_DUE .. hook, subject)
      redis.call('ZREM', WEBHOOK_SINCE .. hook, subject)
    else
      local _, since = first_event(rest)
      redis.call('ZADD', WEBHOOK_SINCE .. hook, since, subject)
      redis.call('HSET', WEBHOOK_EVENTS .. hook, subject, rest)
      redis.call('ZADD', WEBHOOK_DUE .. hook, at, subject)
    end
  end

  -- Count what came of events: "sent", "failed" (tries), "dead".
  local function count_outcome(hook, outcome)
    redis.call('HINCRBY', WEBHOOK_COUNTS .. hook, outcome, 1)
  end

  -- Keep an event that is not sent any more, until somebody replays it.
  local function bury_event(hook, subject, event, reason, at)
    local letter = cjson.encode({event = event, subject = subject, reason = reason, at = at})
    redis.call('LPUSH', WEBHOOK_DEAD .. hook, letter)
    redis.call('LTRIM', WEBHOOK_DEAD .. hook, 0, DEAD_LETTERS - 1)
    count_outcome(hook, 'dead')
  end

  return {append = append_event, queue = queue_event, first = first_event, drop = drop_first,
    bury = bury_event, count = count_outcome}
end
