-- Write down what a provider can do, and when a worker last had it.
--
-- KEYS   catalogue: hash; offered: zset of providers by time
-- ARGV   provider; models: JSON, or "" where nothing is known of them
local CATALOGUE, OFFERED = unpack(KEYS)
local provider, models = unpack(ARGV)
-- include: clock
redis.call('ZADD', OFFERED, now(), provider)
if models ~= '' then
  redis.call('HSET', CATALOGUE, provider, models)
end
return 1
