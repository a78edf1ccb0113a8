-- The quota of a namespace: its limits, and what its jobs reserve, have used and have stored.
--
-- A job of a namespace with limits has the field `quota`: what it still reserves, and so what its
-- end gives back. Where no limit is set there is neither that field nor a key.
--
-- A script that includes this defines `get` first. Money is in units of 1e-9.
local DAY = 86400000 -- ms
local NANO = 1e9

-- Limits of the namespace by name, or nil.
local function quota_limits()
  local own, default = unpack(redis.call('HMGET', QUOTAS, NAMESPACE, '*'))
  return (own or default) and cjson.decode(own or default)
end

-- The functions about quotas, by name. They are made only where a namespace has a quota: Lua would
-- make each of them anew in every run of a script.
local function quotas()
  -- Number the month of a time: a later month has a higher number. `ledger/quotas.py` has the same.
  local function month_of(at)
    local days = math.floor(at / DAY) + 719468 -- since 1 March of the year 0
    local era = math.floor(days / 146097)
    local day = days - era * 146097
    local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524)
      - math.floor(day / 146096)) / 365)
    local of_year = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    return (year + era * 400) * 12 + math.floor((5 * of_year + 2) / 153)
  end

  local function code_points(text)
    local _, count = string.gsub(text, '[^\128-\191]', '')
    return count
  end

  -- Price of a unit that is billed, of the model or its provider; nil where none is known.
  local function unit_price(model)
    local provider = string.match(model, '^[^/]*')
    local own, others = unpack(redis.call('HMGET', UNIT_PRICES, model, provider))
    return tonumber(own or others or nil)
  end

  -- Add to the sums of the namespace, in pairs of name and change.
  local function change_sums(...)
    local sums, changes = QUOTA_SUMS .. NAMESPACE, {...}
    for i = 1, #changes, 2 do
      if changes[i + 1] ~= 0 then
        redis.call('HINCRBY', sums, changes[i], changes[i + 1])
      end
    end
  end

  -- Sums of the namespace as of a time: those of an earlier day or month count as 0.
  local function quota_sums(at)
    local names = {'day', 'month', 'characters_day', 'characters_month', 'money_day',
      'reserved', 'reserved_money', 'streams', 'store_bytes'}
    local sums = {}
    for i, value in ipairs(redis.call('HMGET', QUOTA_SUMS .. NAMESPACE, unpack(names))) do
      sums[names[i]] = tonumber(value or '0')
    end
    if math.floor(at / DAY) > sums.day then
      sums.characters_day, sums.money_day = 0, 0
    end
    if month_of(at) > sums.month then
      sums.characters_month = 0
    end
    return sums
  end

  -- Tell which limit keeps the namespace from `asked` (characters, price, streams, jobs); nil if none.
  --
  -- {"quota", limit's name, its value, what is taken of it, what is asked for, time}
  --   | {"unpriced"}: money is limited, and no price is known
  local function quota_refusal(limits, at, asked)
    local sums = quota_sums(at)
    if limits.money_day and not asked.price then
      return {'unpriced'}
    end
    local money = asked.characters * (asked.price or 0)
    local function over(name, taken, more, unit)
      local limit = limits[name] and limits[name] * (unit or 1)
      if limit and more > 0 and taken + more > limit then
        change_sums('refused_' .. name, 1)
        return {'quota', name, string.format('%.17g', limits[name]),
          string.format('%.17g', taken / (unit or 1)), string.format('%.17g', more / (unit or 1)),
          string.format('%d', at)}
      end
    end
    local queued = limits.queued and redis.call('ZCARD', INDEX .. 'QUEUED') or 0
    return over('queued', queued, asked.jobs)
      or over('streams', sums.streams, asked.streams)
      or over('characters_day', sums.characters_day + sums.reserved, asked.characters)
      or over('characters_month', sums.characters_month + sums.reserved, asked.characters)
      or over('money_day', sums.money_day + sums.reserved_money, money, NANO)
      or over('store_bytes', sums.store_bytes, asked.jobs)
  end

  -- What a job asks for when it begins.
  local function quota_of(text, model, lane)
    return {characters = code_points(text), price = unit_price(model), jobs = 1,
      streams = lane == 'batch' and 0 or 1}
  end

  -- What a job reserves: characters, price of a unit, streams, "1" if its audio object is counted.
  local function read_quota(quota)
    local characters, price, streams, stores = string.match(quota, '^(%S+) (%S+) (%S+) (%S+)$')
    return tonumber(characters), tonumber(price), tonumber(streams), stores
  end

  local function write_quota(characters, price, streams, stores)
    redis.call('HSET', RECORD, 'quota',
      string.format('%d %d %d %s', characters, price, streams, stores))
  end

  -- Change what a job reserves to so many characters and streams.
  local function rebook(quota, characters, streams)
    local held, price, held_streams, stores = read_quota(quota)
    change_sums('reserved', characters - held, 'reserved_money', (characters - held) * price,
      'streams', streams - held_streams)
    write_quota(characters, price, streams, stores)
  end

  -- Reserve what a job asks for.
  local function reserve(limits, asked)
    local price = asked.price or 0
    change_sums('reserved', asked.characters, 'reserved_money', asked.characters * price,
      'streams', asked.streams)
    write_quota(asked.characters, price, asked.streams, limits.store_bytes and '1' or '0')
  end

  -- Count units that a provider has billed for a model.
  local function count_billed(at, billed, model, price)
    local sums = QUOTA_SUMS .. NAMESPACE
    local day, month = math.floor(at / DAY), month_of(at)
    local known_day, known_month = unpack(redis.call('HMGET', sums, 'day', 'month'))
    if day > tonumber(known_day or '0') then
      redis.call('HSET', sums, 'day', day, 'characters_day', 0, 'money_day', 0)
    end
    if month > tonumber(known_month or '0') then
      redis.call('HSET', sums, 'month', month, 'characters_month', 0)
    end
    change_sums('characters_day', billed, 'characters_month', billed,
      'money_day', billed * (unit_price(model) or price or 0))
  end

  -- Count the bytes of a job's audio object; 0: it is deleted.
  local function count_object(bytes)
    local objects = QUOTA_OBJECTS .. NAMESPACE
    local before = tonumber(redis.call('HGET', objects, NAME) or '0')
    change_sums('store_bytes', bytes - before)
    if bytes == 0 then
      redis.call('HDEL', objects, NAME)
    else
      redis.call('HSET', objects, NAME, bytes)
    end
  end

  return {refusal = quota_refusal, of_job = quota_of, rebook = rebook, reserve = reserve,
    count_billed = count_billed, count_object = count_object, code_points = code_points,
    read = read_quota, month_of = month_of}
end
