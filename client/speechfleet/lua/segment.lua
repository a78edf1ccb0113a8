-- A segment is stored: from here a later attempt goes on.
--
-- ARGV   2 token   3 index   4 end (bytes)   5 text start   6 text end   7 hash
--        8 the segment as JSON, without its closing "]": the entry's id is added here
--        9 sample rate   10 window (bytes)   11 account   12... usage, in pairs
-- Reply  1 done, now or earlier; 0 segments before it are missing; -1 not the owner
if not owned(ARGV[2]) then
  return -1
end
local r = get('epoch', 'audio', 'trimmed', 'freed', 'wire')
local stream, segments = STREAMS .. r[1], SEGMENTS .. r[1]
local index, length = tonumber(ARGV[3]), redis.call('LLEN', segments)
if length ~= index then
  return length > index and 1 or 0
end
local at = now()
local entry = redis.call('XADD', stream, '*', 'kind', 'segment', 'index', ARGV[3],
  'offset', ARGV[4], 'text_start', ARGV[5], 'text_end', ARGV[6])
redis.call('RPUSH', segments, ARGV[8] .. ',"' .. entry .. '"]')
local audio = math.max(tonumber(r[2] or '0'), tonumber(ARGV[4]))
redis.call('HSET', RECORD, 'audio', audio, 'streak', 0, 'text_end', ARGV[6])
redis.call('HSETNX', RECORD, 'rate', ARGV[9])
redis.call('SADD', USES .. ARGV[7], NAME)
redis.call('PEXPIRE', USES .. ARGV[7], RECORD_TTL)
if redis.call('DEL', SPEAKING .. ARGV[7]) == 1 then
  wake(ARGV[7])
end
add_usage(at, ARGV[11], 12)

-- The stream is a window: what lies more than `window` bytes back can be read from the store.
local trimmed, freed = tonumber(r[3] or '0'), tonumber(r[4] or '0')
local before = freed
while r[5] ~= 'accumulated' do
  local oldest = redis.call('LINDEX', segments, trimmed)
  if not oldest then
    break
  end
  oldest = cjson.decode(oldest)
  if audio - oldest[3] <= tonumber(ARGV[10]) then
    break
  end
  redis.call('XTRIM', stream, 'MINID', oldest[8])
  trimmed, freed = trimmed + 1, oldest[3]
end
if freed > before then
  local streamed = tonumber(redis.call('HGET', RECORD, 'streamed') or '0')
  local gone = math.min(freed - before, streamed)
  redis.call('HSET', RECORD, 'trimmed', trimmed, 'freed', freed, 'streamed', streamed - gone)
  redis.call('DECRBY', BYTES, gone)
end
return 1
