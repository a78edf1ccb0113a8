-- A call went through after others were refused. Where that took long, the provider counts in
-- windows: what it let through in one, over the window's length, is its rate.
--
-- ARGV   4 ms since the call was granted
local WINDOW = 60000 -- ms: what is promised is promised a minute
local granted = AT - tonumber(ARGV[4])
if b.closed == 0 or granted <= b.cut then
  return 0
end
local opened = b.told > b.cut and b.told or (b.cut + granted) / 2
if b.tries > 0 and opened - b.closed >= LONG and b.from > 0 then
  if b.got >= 3 then
    b.rate = math.max(LEAST, b.got * 60000 / (opened - b.from) * 0.97)
  else
    b.rate = math.max(LEAST, b.rate * 0.7)
  end
  b.mode, b.since, b.accepted, b.busy = FOUND, opened, 1, 0
  b.span = math.min(WINDOW, opened - b.from)
end
b.closed, b.tries, b.probe = 0, 0, 0
save()
return 1
