-- Take jobs whose record has expired out of the index of a state.
--
-- KEYS   index: zset of names by the time they got into the state
-- ARGV   record_prefix; lifetime of a record, ms; offset, count: what part of the index is looked
--        at: names that are old enough, oldest first
-- Reply  {names that were looked at, names that were taken out}
local INDEX = unpack(KEYS)
local record_prefix, lifetime, offset, count = unpack(ARGV)
-- include: clock
local names = redis.call('ZRANGEBYSCORE', INDEX, '-inf', now() - lifetime, 'LIMIT', offset, count)
local removed = 0
for _, name in ipairs(names) do
  if redis.call('EXISTS', record_prefix .. string.gsub(name, '/', ':', 1)) == 0 then
    redis.call('ZREM', INDEX, name)
    removed = removed + 1
  end
end
return {#names, removed}
