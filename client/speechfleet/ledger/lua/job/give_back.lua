-- Put a message back to the head of its queue: its worker cannot take a job now.
--
-- KEYS   record of the job that the message names
-- ARGV   name of that job; queue; sequence of the message
-- Reply  1 sent; 0 no job waits for this message any more
-- include: prelude
local _, queue, sequence = unpack(ARGV)
for _, list in ipairs({queue, queue .. BEHIND}) do
  local name = unpack(redis.call('ZRANGEBYSCORE', PENDING .. list, sequence, sequence))
  if name then
    use_job(name)
    drop_message()
    enqueue(queue, 'head')
    return 1
  end
end
return 0
