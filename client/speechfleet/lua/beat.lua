-- One more heartbeat. A script, because Redis refuses the command when its memory is full, and
-- a full server is not the death of every worker.
--
-- KEYS   1 beats, hash
-- ARGV   1 boot
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
