-- Segments that are stored, written into the record of their job.
--
-- A script that includes this includes `prelude` first.

-- Record the segment that begins with ARGV[first]: 1 done, 0 segments before it are missing.
--
-- ARGV   index; end_offset: bytes; text_start; text_end; hash;
--        encoded: the segment as JSON, without its closing "]": the entry's id is added here;
--        sample_rate; window: bytes that the stream may hold; account;
--        spoken_by: the models that spoke it, a line each, where the job's own leaves that to others;
--        word_fields: their number, and the fields of the entry of its words;
--        then the usage, in pairs, to the end
local function record_segment(first)
  local index, end_offset, text_start, text_end, hash, encoded, sample_rate, window, account,
    spoken_by, word_fields = unpack(ARGV, first, first + 10)
  local first_word_field = first + 11
  local first_usage = first_word_field + tonumber(word_fields)
  local epoch, audio, wire, quota = get('epoch', 'audio', 'wire', 'quota')
  local stream, segments = STREAMS .. epoch, SEGMENTS .. epoch
  local length = redis.call('LLEN', segments)
  if length ~= tonumber(index) then
    return length > tonumber(index) and 1 or 0
  end
  local entry = redis.call('XADD', stream, '*', 'kind', 'segment', 'index', index,
    'offset', end_offset, 'text_start', text_start, 'text_end', text_end)
  if first_usage > first_word_field then
    redis.call('XADD', stream, '*', unpack(ARGV, first_word_field, first_usage - 1))
  end
  redis.call('RPUSH', segments, encoded .. ',"' .. entry .. '"]')
  audio = math.max(tonumber(audio or '0'), tonumber(end_offset))
  redis.call('HSET', RECORD, 'audio', audio, 'stored', end_offset, 'streak', 0,
    'failures', 0, 'text_end', text_end)
  redis.call('HDEL', RECORD, 'tag') -- its place in a line of the account: it has had its turn
  redis.call('HSETNX', RECORD, 'rate', sample_rate)
  for name in string.gmatch(spoken_by, '[^\n]+') do
    local known = get('spoken_by') or ''
    if not string.find('\n' .. known .. '\n', '\n' .. name .. '\n', 1, true) then
      redis.call('HSET', RECORD, 'spoken_by', known == '' and name or known .. '\n' .. name)
    end
  end
  redis.call('SADD', USES .. hash, NAME)
  redis.call('PEXPIRE', USES .. hash, RECORD_TTL)
  -- The claim of another job stays: its dead worker may have made a call that is not counted yet.
  if string.match(redis.call('GET', SPEAKING .. hash) or '', '^%S+') == NAME then
    redis.call('DEL', SPEAKING .. hash)
  end
  if redis.call('EXISTS', WAITERS .. hash) == 1 then
    resume_waiters(hash)
  end
  add_usage(now(), account, first_usage)
  if quota then
    local reserved, _, streams = quotas().read(quota)
    quotas().rebook(quota, math.max(0, reserved - (text_end - text_start)), streams)
  end

  -- The stream is a window: audio further back is in the store. On the accumulated wire only memory
  -- pressure shortens it: raw readers shall find each entry.
  local too_many = bytes_of(stream) - tonumber(window)
  if too_many > 0 and wire ~= 'accumulated' then
    trim(stream, too_many, tonumber(end_offset))
  end
  return 1
end
