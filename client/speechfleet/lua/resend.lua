-- A queued job's message once more: it was lost, or the next attempt is due.
--
-- ARGV   2 the sequence that the caller saw (0: none is out, the job is delayed)
-- Reply  1 sent; 0 the job has moved on, or is not yet due
local r = get('state', 'seq', 'queue')
if r[1] ~= 'QUEUED' or r[2] ~= ARGV[2] then
  if r[1] ~= 'QUEUED' then
    redis.call('ZREM', DELAYED, NAME)
  end
  return 0
end
local due = redis.call('ZSCORE', DELAYED, NAME)
if due and tonumber(due) > now() then
  return 0
end
leave_line()
enqueue(r[3], true)
return 1
