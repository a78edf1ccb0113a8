-- Count one more heartbeat. A script, because Redis refuses the command when its memory is
-- full, and a full server is not the death of every worker.
--
-- KEYS   heartbeats: hash
-- ARGV   boot
-- Reply  the heartbeats of all workers: boot, count, boot, count ...
local HEARTBEATS = unpack(KEYS)
local boot = unpack(ARGV)
redis.call('HINCRBY', HEARTBEATS, boot, 1)
return redis.call('HGETALL', HEARTBEATS)
