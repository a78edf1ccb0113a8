-- An execution ends without having stored these segments: others may speak them.
--
-- ARGV   2 token   3... their hashes
for i = 3, #ARGV do
  local holder = redis.call('GET', SPEAKING .. ARGV[i])
  if holder and string.find(holder, NAME .. ' ' .. ARGV[2] .. ' ', 1, true) == 1 then
    redis.call('DEL', SPEAKING .. ARGV[i])
    wake(ARGV[i])
  end
end
return 1
