-- Write down what a worker says of itself. A script for the same reason as `heartbeat.lua`.
--
-- KEYS   description: string
-- ARGV   json; lifetime: s
local DESCRIPTION = unpack(KEYS)
local json, lifetime = unpack(ARGV)
return redis.call('SET', DESCRIPTION, json, 'EX', lifetime)
