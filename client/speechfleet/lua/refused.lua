-- The provider has refused a call: too many. All workers pause if it says so, and ask less.
--
-- ARGV   4 ms that it asks to wait   5 requests a minute with which to begin where none is known
count(-1)
b.refused = b.refused + 1
b.paused = math.max(b.paused, AT + tonumber(ARGV[4]))
local since = AT - b.since
local function begin(mode)
  b.mode, b.since, b.cut, b.accepted, b.busy = mode, AT, AT, 0, 0
end
if b.rate == 0 then
  b.rate = REQUESTS > 0 and REQUESTS or tonumber(ARGV[5])
  begin(NARROWING)
elseif b.mode == SEARCHING then
  b.rate = math.min(b.rate, lately() * 60) * 0.8
  begin(NARROWING)
elseif since < 2000 then
  -- What was under way when the last one was refused says nothing new.
  if AT - b.cut >= 250 then
    b.rate, b.cut = b.rate * 0.85, AT
  end
elseif b.busy >= 0.8 * since and b.accepted >= 10 then
  b.rate = math.min(b.rate, b.accepted * 60000 / since) * 0.98
  begin(FOUND)
else
  b.rate = b.rate * 0.9
  begin(b.mode)
end
b.rate = math.max(b.rate, LEAST)
save()
return 1
