-- The audio is stored: the record names the winner's object.
--
-- ARGV   2 token   3 bytes of PCM   4 object key   5 media type   6 bytes of the object
--        7 duration in ms   8 usage as JSON   9 sample rate
-- Reply  1 done, now or earlier by this token; 0 the audio is not all there; -1 not the owner
local r = get('state', 'winner', 'audio')
if r[1] == 'SUCCEEDED' and r[2] == ARGV[2] then
  return 1
end
if not owned(ARGV[2]) then
  return -1
end
if tonumber(r[3] or '0') ~= tonumber(ARGV[3]) then
  return 0
end
local at = now()
move('RUNNING', 'finish', at)
leave_worker()
redis.call('HSET', RECORD, 'winner', ARGV[2], 'object', ARGV[4], 'media_type', ARGV[5],
  'bytes', ARGV[6], 'duration_ms', ARGV[7], 'ended', at)
redis.call('HSETNX', RECORD, 'rate', ARGV[9])
tell(at, 'finish', ARGV[4])
end_epoch(at, 'kind', 'finished', 'bytes', ARGV[3], 'duration_ms', ARGV[7], 'object', ARGV[4],
  'media_type', ARGV[5], 'usage', ARGV[8])
return 1
