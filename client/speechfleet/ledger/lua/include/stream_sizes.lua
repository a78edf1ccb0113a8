-- The bytes of audio that chunk streams hold: in all, by namespace and by stream.
--
-- A script that includes this names the keys BYTES, STREAM_SIZES and NAMESPACE_SIZES first.

local function namespace_of(stream)
  return string.match(stream, ':stream:([^:]*):')
end

-- Add `size` bytes to what this stream is counted with; a negative size takes them away.
local function count_bytes(stream, size)
  if size == 0 then
    return
  end
  local namespace = namespace_of(stream)
  redis.call('INCRBY', BYTES, size)
  if redis.call('HINCRBY', STREAM_SIZES, stream, size) <= 0 then
    redis.call('HDEL', STREAM_SIZES, stream)
  end
  if redis.call('HINCRBY', NAMESPACE_SIZES, namespace, size) <= 0 then
    redis.call('HDEL', NAMESPACE_SIZES, namespace)
  end
end

local function bytes_of(stream)
  return tonumber(redis.call('HGET', STREAM_SIZES, stream) or '0')
end
