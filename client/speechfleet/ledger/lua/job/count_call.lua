-- Count a provider call whose audio the record does not name: it was thrown away, or it was stored
-- before its turn.
--
-- A call is counted once, whoever does it: this run, or one that found its audio in the store and
-- took it over (`inherit_call.lua`), or the command that recorded its segment, where the run does
-- not know that it was carried out.
--
-- KEYS   record
-- ARGV   name; token; epoch; account; count: an id of the call, which a repeated command repeats;
--        index: of the segment;
--        stored: hash of the segment where a later attempt finds its audio in the store, or "";
--        then the usage, in pairs
-- Reply  1 the job knows of it, or it was counted already; 0 it is gone or another worker's: only the
--        day's sums count it
-- include: prelude
local _, token, epoch, account, count, index, stored = unpack(ARGV)
local FIRST_USAGE = 8
local is_counted = has_recorded(token, index)
  or not redis.call('SET', COUNTED .. count, 'counted', 'NX', 'EX', REPEATED_TTL)
if is_counted then
  return 1
end
local state, record_epoch, before = get('state', 'epoch', 'ahead')
if record_epoch ~= epoch or not (owned(token) or state == 'CANCELLED') then
  local at = now()
  local sums = USAGE .. math.floor(at / DAY) .. ':' .. account
  local counted = redis.call('EXISTS', QUOTA_SUMS .. NAMESPACE) == 1
  for i = FIRST_USAGE, #ARGV, 2 do
    local name, number = ARGV[i], ARGV[i + 1]
    if counted and name == 'billed' then
      quotas().count_billed(at, tonumber(number), model_of(account))
    end
    redis.call('HINCRBY', sums, name, number)
  end
  redis.call('EXPIRE', sums, USAGE_TTL)
  list_sums(at, account, sums)
  return 0
end
add_usage(now(), account, FIRST_USAGE)
if stored ~= '' then
  local same_epoch = before and string.find(before, epoch .. ':', 1, true) == 1
  redis.call('HSET', RECORD, 'ahead', (same_epoch and before or epoch .. ':') .. ' ' .. stored)
  remember_begun(stored)
end
return 1
