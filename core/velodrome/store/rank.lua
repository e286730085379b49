-- Accepting, part 2 of 3: finds where the values of the accepted results rank. Nothing is written here.

local SAMPLE_BYTES = 16 -- a stored seed and value
-- A stored row: the age of its job, the facts of entry and job, the time of its last value, and its values.
local ROW = '^(%x+)\n[^\n]*\n(' .. STAMP .. ')(.*)$'

local function row_from(stored, key, entry)
  if not stored then
    return {age = '', stamp = '', values = ''}
  end
  local age, stamp, values = stored:match(ROW)
  if not age or #values % SAMPLE_BYTES ~= 0 then
    garbage = garbage or key .. ' field ' .. entry .. ' holds no ranking row'
    return {age = '', stamp = '', values = ''}
  end
  return {age = age, stamp = stamp, values = values}
end

-- The new ranking rows, by position of their key and by entry. Several groups of one batch may add to one row.
local rows = {}
local function rows_of(position, groups)
  local of_key, missing = rows[position] or {}, {}
  rows[position] = of_key
  for _, group in ipairs(groups) do
    missing[#missing + 1] = not of_key[group.entry] and group.entry or nil
  end
  for start = 1, #missing, CHUNK do
    local chunk = {unpack(missing, start, math.min(start + CHUNK - 1, #missing))}
    for number, stored in ipairs(redis.call('HMGET', KEYS[position], unpack(chunk))) do
      of_key[chunk[number]] = row_from(stored, KEYS[position], chunk[number])
    end
  end
  return of_key
end

-- The groups that have accepted results, by shape. `places` has the places of these results in their group.
local groups = {}
for _, group in ipairs(batch.groups) do
  group.values, group.places, group.last = ARGV[argument], {}, ''
  argument = argument + 1
  for place, number in ipairs(group.results) do
    local item = items[number]
    if trials[item.index] == item then
      group.places[#group.places + 1] = place
      group.last = later(group.last, item.stamp)
    end
  end
  if #group.places > 0 then
    groups[group.shape] = groups[group.shape] or {}
    table.insert(groups[group.shape], group)
  end
end

-- The accepted values of a group for one of its metric keys.
local function values_of(group, number)
  local size = #group.results * SAMPLE_BYTES
  local values = group.values:sub((number - 1) * size + 1, number * size)
  if #group.places == #group.results then
    return values
  end
  local parts = {}
  for position, place in ipairs(group.places) do
    parts[position] = values:sub((place - 1) * SAMPLE_BYTES + 1, place * SAMPLE_BYTES)
  end
  return table.concat(parts)
end

-- Adds values to a row, unless the row is of a newer job. Returns by how many values the cohort grows.
local function add_to(row, values, last)
  local change = #values
  if row.age > batch.age then
    return 0
  elseif row.age < batch.age then
    change = change - #row.values
    row.age, row.stamp, row.values = batch.age, '', ''
  end
  row.stamp, row.values, row.changed = later(row.stamp, last), row.values .. values, true
  return change / SAMPLE_BYTES
end

-- cohorts: the time of each cohort's last accepted value. gained: the values to add to the job's own samples, which
-- newer jobs don't change.
local cohorts, gained = {}, {}
for number, of_shape in pairs(groups) do
  for place, where in ipairs(batch.shapes[number]) do
    local position, cohorts_key, cohort = where[1], KEYS[where[2]], where[3]
    local of_key, change, last = rows_of(position, of_shape), 0, ''
    for _, group in ipairs(of_shape) do
      local values, field = values_of(group, place), where[4] .. '\n' .. where[3] .. '\n' .. group.entry
      gained[field] = (gained[field] or '') .. values
      change = change + add_to(of_key[group.entry], values, group.last)
      last = later(last, group.last)
    end
    count(cohorts_key, 'samples:' .. cohort, change)
    local id = cohorts_key .. '\n' .. cohort
    cohorts[id] = {cohorts_key, cohort, later(last, cohorts[id] and cohorts[id][3] or '')}
  end
end
