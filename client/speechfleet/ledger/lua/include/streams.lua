-- Take audio, or all, out of a chunk stream.
--
-- A script that includes this includes `stream_sizes` first.
local TRIM_PAGE = 4 -- entries that are read at a time; an entry holds up to 64 KB
local NO_LIMIT = math.huge

-- Remove a stream, and give its bytes back.
local function remove_stream(stream)
  count_bytes(stream, -bytes_of(stream))
  redis.call('UNLINK', stream)
end

-- Kind of an entry, and the offsets between which its audio lies.
local function describe_entry(fields)
  local value = {}
  for i = 1, #fields, 2 do
    value[fields[i]] = fields[i + 1]
  end
  return value.kind, tonumber(value.offset or '0'), tonumber(value.total or '0')
end

local ENDINGS = {finished = true, failed = true, cancelled = true}

-- Remove entries from the head of a stream until `wanted` bytes of audio are gone; only audio
-- that ends at or before the offset `last`, and never the entry that ends the stream.
local function trim(stream, wanted, last)
  local freed, start, keep_from = 0, '-', nil
  while freed < wanted do
    local entries = redis.call('XRANGE', stream, start, '+', 'COUNT', TRIM_PAGE)
    for _, entry in ipairs(entries) do
      local id, fields = entry[1], entry[2]
      local kind, offset, total = describe_entry(fields)
      if ENDINGS[kind] or freed >= wanted or (kind == 'audio' and total > last) then
        keep_from, wanted = id, 0
        break
      end
      if kind == 'audio' then
        freed = freed + total - offset
      end
      local milliseconds, number = string.match(id, '^(%d+)-(%d+)$')
      keep_from = string.format('%s-%d', milliseconds, number + 1)
      start = keep_from
    end
    if #entries < TRIM_PAGE then
      break
    end
  end
  if freed > 0 then
    redis.call('XTRIM', stream, 'MINID', keep_from)
    count_bytes(stream, -freed)
  end
  return freed
end
