-- May this segment be spoken now? As `take` has it, for a model without a limit.
--
-- KEYS   1 speaking: who speaks this segment   2 uses, set   3 beats, hash   4 budget, hash
-- ARGV   1 name of the job   2 token   3 index of the segment
--        4 "1": the store has nothing of it, whatever `uses` says
--        5 ms after which the claim is void
-- Reply  "go" | "stored": look again | "spoken": by another | "limited": ask `take`, a refusal
--        has shown that there is a limit
if redis.call('EXISTS', KEYS[4]) == 1 then
  return 'limited'
end
local whose = taken(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if not whose then
  take(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[5])
end
return whose or 'go'
