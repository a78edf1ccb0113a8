-- Tell whether a running job should give its slot to one that waits, at the end of a segment.
--
-- KEYS   record
-- ARGV   name; then the queues that may have the slot. In the job's own queue a namespace gets it
--        that holds at least two slots less, so that the two do not take it from each other.
-- Reply  1 it should; 0 nobody waits who should have it
-- include: prelude
local FIRST_QUEUE = 2
local FAIR_DIFFERENCE = 2
local own_queue = get('queue')

local function slots_of(namespace)
  return tonumber(redis.call('HGET', HELD .. own_queue, namespace) or '0')
end

for i = FIRST_QUEUE, #ARGV do
  local queue = ARGV[i]
  local next_namespace = unpack(redis.call('ZRANGE', TURNS .. queue, 0, 0))
  if next_namespace and (queue ~= own_queue
      or slots_of(NAMESPACE) - slots_of(next_namespace) >= FAIR_DIFFERENCE) then
    return 1
  end
end
return 0
