-- Accepting, second chapter: where the values of the accepted results rank. Nothing is written here.

local SAMPLE_BYTES = 16 -- seed and value, as they are kept
-- A kept row: the age of its job, what it says of entry and job, when its last value came, and its values.
local ROW = '^(%x+)\n[^\n]*\n(' .. STAMP .. ')(.*)$'

-- Ranking rows as they will be, by position of their key and by entry: groups of one batch may add to the same.
local rows = {}
local function row_of(position, entry)
  local of_key = rows[position] or {}
  rows[position] = of_key
  local row = of_key[entry]
  if not row then
    row = {age = '', stamp = '', values = ''}
    of_key[entry] = row
    local stored = redis.call('HGET', KEYS[position], entry)
    if stored then
      local age, stamp, values = stored:match(ROW)
      if age and #values % SAMPLE_BYTES == 0 then
        row.age, row.stamp, row.values = age, stamp, values
      else
        garbage = garbage or KEYS[position] .. ' field ' .. entry .. ' holds no ranking row'
      end
    end
  end
  return row
end

-- Which results of a group were accepted, as places in it, and when the last of them was; nil if none was.
local function accepted_of(group)
  local places, last = {}, ''
  for place, number in ipairs(group.results) do
    local item = items[number]
    if trials[item.index] == item then
      places[#places + 1] = place
      last = later(last, item.stamp)
    end
  end
  return #places > 0 and places, last
end

local function values_at(places, of, values)
  if #places == of then
    return values
  end
  local parts = {}
  for number, place in ipairs(places) do
    parts[number] = values:sub((place - 1) * SAMPLE_BYTES + 1, place * SAMPLE_BYTES)
  end
  return table.concat(parts)
end

-- `place` is where one key of a shape ranks: positions of the keys of its rows and of its cohorts, and the cohort.
-- It gathers what changes there: the number of values, and when the last of them came.
local function rank(entry, place, fresh, last)
  place.last = later(place.last or '', last)
  local row = row_of(place[1], entry)
  if row.age > batch.age then -- a newer job has values: they stand
    return
  elseif row.age < batch.age then
    place.change = (place.change or 0) - #row.values / SAMPLE_BYTES
    row.age, row.stamp, row.values = batch.age, '', ''
  end
  place.change = (place.change or 0) + #fresh / SAMPLE_BYTES
  row.stamp, row.values, row.changed = later(row.stamp, last), row.values .. fresh, true
end

for _, group in ipairs(batch.groups) do
  local places, last = accepted_of(group)
  local size, values = #group.results * SAMPLE_BYTES, ARGV[argument]
  for number, place in ipairs(places and batch.shapes[group.shape] or {}) do
    local of_row = values:sub((number - 1) * size + 1, number * size)
    rank(group.entry, place, values_at(places, #group.results, of_row), last)
  end
  argument = argument + 1
end

local cohorts = {}
for _, shape in ipairs(batch.shapes) do
  for _, place in ipairs(shape) do
    if place.last then
      local key, cohort = KEYS[place[2]], place[3]
      local id = key .. '\n' .. cohort
      cohorts[id] = {key, cohort, later(place.last, cohorts[id] and cohorts[id][3] or '')}
      count(key, 'samples:' .. cohort, place.change or 0)
    end
  end
end
