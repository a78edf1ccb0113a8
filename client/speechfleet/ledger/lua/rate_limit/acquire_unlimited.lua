-- Ask whether a segment may be synthesized now. As `acquire`, for a model without a limit.
--
-- KEYS   speaking: claim on this segment; uses, begun: sets; heartbeats: hash; rate_limit: hash
-- ARGV   name of the job; token; index of the segment; hash of the segment;
--        missing: "1" where the store has nothing of it, whatever `uses` says;
--        lifetime: ms after which the claim is void
-- Reply  "granted" | "stored": look again | "in_flight": by another | "limited": ask `acquire`, a
--        refusal has shown that there is a limit
local SPEAKING, USES, BEGUN, HEARTBEATS, RATE_LIMIT = unpack(KEYS)
local name, token, index, hash, missing, lifetime = unpack(ARGV)
-- include: single_flight
if redis.call('EXISTS', RATE_LIMIT) == 1 then
  return 'limited'
end
local other = find_other(name, token, index, missing)
if not other then
  claim_segment(name, token, index, lifetime, hash)
end
return other or 'granted'
