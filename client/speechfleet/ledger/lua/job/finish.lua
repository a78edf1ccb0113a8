-- End a job whose audio is stored: the record names the winner's object.
--
-- KEYS   record
-- ARGV   name; token; pcm_bytes; object: its key; media_type; object_bytes; duration_ms;
--        usage as JSON; sample_rate; gain: dB, or "";
--        then its last segment, as of `segments.lua`, where that is recorded with the end
-- Reply  1 done, now or earlier by this token; 0 the audio is not all there; -1 not the owner
-- include: prelude
-- include: segments
local _, token, pcm_bytes, object, media_type, object_bytes, duration_ms, usage, sample_rate,
  gain = unpack(ARGV)
local FIRST_OF_SEGMENT = 11
local segment, segment_end = unpack(ARGV, FIRST_OF_SEGMENT, FIRST_OF_SEGMENT + 1)
local state, winner, audio = get('state', 'winner', 'audio')
if state == 'SUCCEEDED' and winner == token then
  return 1
end
if not owned(token) then
  return -1
end
if math.max(tonumber(audio or '0'), tonumber(segment_end or '0')) ~= tonumber(pcm_bytes) then
  return 0
end
if segment and record_segment(FIRST_OF_SEGMENT) == 0 then
  return 0
end
local quota = get('quota')
local at = now()
move('RUNNING', 'finish', at)
leave_worker()
redis.call('HSET', RECORD, 'winner', token, 'object', object, 'media_type', media_type,
  'bytes', object_bytes, 'duration_ms', duration_ms, 'ended', at)
redis.call('HSETNX', RECORD, 'rate', sample_rate)
if (gain or '') ~= '' then
  redis.call('HSET', RECORD, 'gain', gain)
end
if quota then
  local _, _, _, stores = quotas().read(quota)
  if stores == '1' then
    quotas().count_object(tonumber(object_bytes))
  end
end
write_history(at, 'finish', object)
end_epoch(at, 'kind', 'finished', 'bytes', pcm_bytes, 'duration_ms', duration_ms,
  'object', object, 'media_type', media_type, 'usage', usage)
return 1
