-- Count one more heartbeat. A script, because Redis refuses the command when its memory is
-- full, and a full server is not the death of every worker.
--
-- KEYS   heartbeats: hash
-- ARGV   boot
local HEARTBEATS = unpack(KEYS)
local boot = unpack(ARGV)
return redis.call('HINCRBY', HEARTBEATS, boot, 1)
