-- The provider has refused a call: too many. All workers pause if it says so, and ask less.
--
-- ARGV   4 ms that it asks to wait   5 requests a minute with which to begin where none is known
local ON_ITS_WAY = 600 -- ms from a grant to its call, at most
count(-1)
b.refused = b.refused + 1
b.paused = math.max(b.paused, AT + tonumber(ARGV[4]))
local since = AT - b.since
-- Granted, but still waiting for their time.
local ahead = math.max(0, b.tat - AT) * b.rate / 60000
local function begin(mode)
  b.mode, b.since, b.cut, b.accepted, b.busy = mode, AT, AT, ahead, 0
  -- Room for what is on its way, without a refusal for each of it.
  b.paused = math.max(b.paused, AT + ON_ITS_WAY / 2)
end
if b.rate == 0 then
  b.rate = REQUESTS > 0 and REQUESTS or tonumber(ARGV[5])
  begin(NARROWING)
elseif b.mode == SEARCHING then
  b.rate = math.min(b.rate, lately() * 60) * 0.7
  begin(NARROWING)
elseif since < 2000 then
  -- What was on its way when the last one was refused says nothing new.
  if AT - b.cut >= ON_ITS_WAY then
    b.rate, b.cut = b.rate * (b.mode == FOUND and 0.95 or 0.85), AT
  end
elseif b.busy >= 0.8 * since and b.accepted >= 10 then
  -- What was let through on the way here was too little as long as the rate still rose; what
  -- is asked for now is too much.
  local through = (b.accepted - ahead) * 60000 / since
  b.rate = (math.min(b.rate, through) + b.rate) / 2 * 0.97
  begin(FOUND)
else
  b.rate = b.rate * 0.9
  begin(b.mode)
end
b.rate = math.max(b.rate, LEAST)
save()
return 1
