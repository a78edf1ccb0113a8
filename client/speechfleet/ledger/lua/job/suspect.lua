-- Note the segments of a job that probably lack text.
--
-- KEYS   record
-- ARGV   name; epoch: that the segments are of; suspects: their indices, separated by spaces, or ""
-- Reply  how many of them nobody had noted; 0 where the job is gone, or in another epoch
-- include: prelude
local _, epoch, suspects = unpack(ARGV)
local current, before = get('epoch', 'suspect')
if current ~= epoch then
  return 0
end
local new = 0
for index in string.gmatch(suspects, '%d+') do
  if not string.find(' ' .. (before or '') .. ' ', ' ' .. index .. ' ', 1, true) then
    new = new + 1
  end
end
if suspects == '' then
  redis.call('HDEL', RECORD, 'suspect')
else
  redis.call('HSET', RECORD, 'suspect', suspects)
end
return new
