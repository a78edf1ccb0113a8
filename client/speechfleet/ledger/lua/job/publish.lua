-- Append audio to the chunk stream, under the token and at exactly the right offset.
--
-- A stream is a window: where there is no room, it loses its oldest audio, and readers find
-- that in the store. So no job waits for room that other jobs hold.
--
-- KEYS   record; streams: prefix, + epoch; bytes: counter; stream_sizes, namespace_sizes: hashes;
--        expiring: zset of ended streams; minutes: prefix of the namespace's counts
-- ARGV   token; start, total: the new bytes are [start, total) of the job's audio;
--        entry_start: offset of the entry (start, or 0 for the accumulated wire);
--        data of the entry; limit: bytes that all streams may hold;
--        minimum: bytes that this stream may hold in any case;
--        unstored: "1" where audio may be dropped before it is stored; sample_rate;
--        mark_fields: their number, and the fields of a mark that stands before this audio;
--        then, where start is 0, the fields of `started`, written before the first audio
-- Reply  the audio there is now: `total` when written (now or earlier), less: a gap, send again
--        from there; -1: the token is not the owner's; -2: there is no room, try again later
local RECORD, STREAMS, BYTES, STREAM_SIZES, NAMESPACE_SIZES, EXPIRING, MINUTES = unpack(KEYS)
local token, start, total, entry_start, data, limit, minimum, unstored, sample_rate, mark_fields =
  unpack(ARGV, 1, 10)
local FIRST_MARK_FIELD = 11
mark_fields = tonumber(mark_fields)
local FIRST_STARTED_FIELD = FIRST_MARK_FIELD + mark_fields
local state, owner, audio, epoch, rate, stored =
  unpack(redis.call('HMGET', RECORD, 'state', 'token', 'audio', 'epoch', 'rate', 'stored'))
-- include: stream_sizes
local LARGEST_SHARE = 0.75 -- of the limit, for a namespace that is alone
local PRESSURE = 0.5 -- of the limit, above which each namespace is held to its share
local ENDED_AT_ONCE = 20 -- ended streams that one call may empty

if state ~= 'RUNNING' or owner ~= token then
  return -1
end
audio, total = tonumber(audio or '0'), tonumber(total)
if total <= audio then
  return total
end
if tonumber(start) ~= audio then
  return audio
end
local stream, size = STREAMS .. epoch, #data
limit, minimum = tonumber(limit), tonumber(minimum)

-- Bytes in all streams, once this entry is written.
local function bytes_then()
  return tonumber(redis.call('GET', BYTES) or '0') + size
end

-- Make room for this entry by taking out older audio; return whether there is room then.
-- The functions are made only here: Lua would make each of them anew for every chunk.
local function make_room()
-- include: streams
  local namespace = namespace_of(stream)

  -- Bytes that are too many; 0 or less where there is room.
  local function excess()
    local all = bytes_then()
    if all <= limit * PRESSURE then
      return 0
    end
    local own = tonumber(redis.call('HGET', NAMESPACE_SIZES, namespace) or '0')
    local namespaces = redis.call('HLEN', NAMESPACE_SIZES) + (own == 0 and 1 or 0)
    local share = limit * math.min(LARGEST_SHARE, 1 / namespaces)
    local over_minimum = bytes_of(stream) + size - minimum
    return math.min(math.max(all - limit, own + size - share), over_minimum)
  end

  -- Ended streams go first: all that they hold is in the store, or will not be there.
  local function empty_ended_streams()
    for _, ended in ipairs(redis.call('ZRANGE', EXPIRING, 0, ENDED_AT_ONCE - 1)) do
      if excess() <= 0 then
        return
      end
      trim(ended, NO_LIMIT, NO_LIMIT)
      if bytes_of(ended) == 0 then
        redis.call('ZREM', EXPIRING, ended)
      end
    end
  end

  if excess() > 0 then
    empty_ended_streams()
  end
  if excess() > 0 then
    trim(stream, excess(), tonumber(stored or '0'))
  end
  -- Each entry of the accumulated wire holds all that was in those before it.
  if excess() > 0 and (unstored == '1' or entry_start ~= start) then
    trim(stream, excess(), NO_LIMIT)
  end
  return excess() <= 0
end

-- Begin the stream, before the first audio.
local function begin_stream()
-- include: clock
-- include: minutes
  redis.call('XADD', stream, '*', unpack(ARGV, FIRST_STARTED_FIELD))
  redis.call('HSET', RECORD, 'rate', sample_rate)
  -- Of a retry nobody knows here when it began.
  if epoch == '1' then
    local at, created, lane = now(), unpack(redis.call('HMGET', RECORD, 'created', 'lane'))
    count_first_audio(at, lane or 'live', at - (created or at))
  end
end

if bytes_then() > limit * PRESSURE and not make_room() then
  return -2
end
if not rate then
  begin_stream()
end
if mark_fields > 0 then
  redis.call('XADD', stream, '*', unpack(ARGV, FIRST_MARK_FIELD, FIRST_STARTED_FIELD - 1))
end
redis.call('XADD', stream, '*', 'kind', 'audio', 'offset', entry_start, 'total', total,
  'data', data)
count_bytes(stream, size)
redis.call('HSET', RECORD, 'audio', total)
return total
