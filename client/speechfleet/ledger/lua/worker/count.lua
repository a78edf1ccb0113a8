-- Add to the sums that workers count, with a bound on the number of different fields.
--
-- KEYS   counts: hash
-- ARGV   most: fields that the hash may have; then triples: field, its name where there are too
--        many of them, number to add
local COUNTS = unpack(KEYS)
local most = tonumber((unpack(ARGV)))
local FIRST = 2
local length = redis.call('HLEN', COUNTS)
for i = FIRST, #ARGV, 3 do
  local field, other, number = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('HEXISTS', COUNTS, field) == 0 then
    if length >= most then
      field = other
    else
      length = length + 1
    end
  end
  redis.call('HINCRBY', COUNTS, field, number)
end
return length
