-- Find the delayed jobs whose time has come. Where the server's clock has stepped back, their
-- times step back with it: a wait of a second stays one.
--
-- KEYS   delayed, expiring: zsets; clock: string
-- ARGV   count: at most so many
-- Reply  names
local DELAYED, EXPIRING, CLOCK = unpack(KEYS)
local count = unpack(ARGV)
-- include: clock
local at = follow_clock(CLOCK, {DELAYED, EXPIRING})
return redis.call('ZRANGEBYSCORE', DELAYED, '-inf', at, 'LIMIT', 0, count)
