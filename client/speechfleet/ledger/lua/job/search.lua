-- Walk through jobs from the latest change back, and name those that match: a part at a call.
--
-- KEYS   indexes: zsets of names by the time of their last change, one a state
-- ARGV   record_prefix; latest: time to begin at, ms, or "+inf"; passed: the last name that was
--        looked at with that time, or "": none; earliest: time to end at, ms, or "-inf";
--        most: jobs to look at; wanted: names to return; name_prefix: how names begin;
--        then what the record must have, "" for anything: model, or its provider alone; voice; lane;
--        batch, as the record has it
-- Reply  {time, name: of the job that was looked at last, "" where there are no more; number of jobs
--        that were looked at; matching names}
local record_prefix, latest, passed, earliest, most, wanted, name_prefix, model, voice, lane, batch =
  unpack(ARGV)
most, wanted = tonumber(most), tonumber(wanted)
local reads_record = model ~= '' or voice ~= '' or lane ~= '' or batch ~= ''
local DEFAULT_LANE = 'live' -- a record leaves it out

-- Tell whether a name comes before another in a zset that is read from its end, where their times
-- are equal: by bytes, as Lua's own comparison need not do.
local function precedes(name, other)
  for i = 1, math.min(#name, #other) do
    local byte, other_byte = string.byte(name, i), string.byte(other, i)
    if byte ~= other_byte then
      return byte > other_byte
    end
  end
  return #name > #other
end

-- Return at most `most` names and times of an index, from behind the last one that was passed.
local function read(index)
  local found, offset = {}, 0
  repeat
    local page = redis.call('ZREVRANGEBYSCORE', index, latest, earliest, 'WITHSCORES',
      'LIMIT', offset, most)
    offset = offset + most
    for i = 1, #page, 2 do
      local name, time = page[i], page[i + 1]
      if passed == '' or time ~= latest or precedes(passed, name) then
        table.insert(found, {name, time})
      end
    end
  until #found >= most or #page < 2 * most
  return found
end

local function matches(name)
  if string.sub(name, 1, #name_prefix) ~= name_prefix then
    return false
  end
  if not reads_record then
    return true
  end
  local record = record_prefix .. string.gsub(name, '/', ':', 1)
  local its_model, its_voice, its_lane, its_batch =
    unpack(redis.call('HMGET', record, 'model', 'voice', 'lane', 'batch'))
  its_model = its_model or ''
  return (model == '' or its_model == model
      or string.sub(its_model, 1, #model + 1) == model .. '/')
    and (voice == '' or its_voice == voice)
    and (lane == '' or (its_lane or DEFAULT_LANE) == lane)
    and (batch == '' or its_batch == batch)
end

local lists, places = {}, {}
for i, index in ipairs(KEYS) do
  lists[i], places[i] = read(index), 1
end

-- Take the job that changed last of those that head the lists.
local function next_job()
  local first
  for i, list in ipairs(lists) do
    local job = list[places[i]]
    local best = first and lists[first][places[first]]
    if job and (not best or tonumber(job[2]) > tonumber(best[2])
        or (job[2] == best[2] and precedes(job[1], best[1]))) then
      first = i
    end
  end
  if not first then
    return nil
  end
  places[first] = places[first] + 1
  return unpack(lists[first][places[first] - 1])
end

local names, looked_at, last_name, last_time = {}, 0, '', ''
while looked_at < most and #names < wanted do
  local name, time = next_job()
  if not name then
    return {'', '', looked_at, names}
  end
  looked_at, last_name, last_time = looked_at + 1, name, time
  if matches(name) then
    table.insert(names, name)
  end
end
return {last_time, last_name, looked_at, names}
