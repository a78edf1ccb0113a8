-- Correct the bytes that a namespace has in the store by what was measured there.
--
-- KEYS   recount: token of the worker that measures; sums: hash
-- ARGV   token; change: bytes measured less those counted when it began; rest: ms until the next
-- Reply  1, or 0: its lease is over
local RECOUNT, SUMS = unpack(KEYS)
local token, change, rest = unpack(ARGV)
if redis.call('GET', RECOUNT) ~= token then
  return 0
end
redis.call('HINCRBY', SUMS, 'store_bytes', change)
redis.call('PEXPIRE', RECOUNT, rest)
return 1
