-- Takes a batch of one job's results, progress and rejections, whole or not at all, and moves the inbox position.
-- Returns a letter for each result (A accepted, D duplicate, C conflict, S superseded), or nil for an unknown job.
-- Everything may be sent again: results are written once, and progress and rejections count only while their
-- position in the inbox lies ahead. What the arguments hold, writing.py says. Measured values stay the bytes that
-- they came as: a number that passed through Lua would lose digits.

local JOB, POSITION, TRIALS, RECORDS, CURVES, CONFLICTS, FAILURES, PROGRESS, LIVE, ENTRIES, REJECTED, REJECTIONS,
  INBOX, BOARDS, COHORTS = unpack(KEYS, 1, 15)
local RESULT_ARGUMENTS, PROGRESS_ARGUMENTS, REJECTION_ARGUMENTS = 11, 4, 3
local SAMPLE_BYTES = 16 -- seed and value, as they are kept
local CHUNK = 1000 -- of a command's arguments: Lua passes less than 8000
local STAMP = ('%x'):rep(16) -- a time in microseconds, hexadecimal: compares as text
local ROW = '^(%x+)\n[^\n]*\n(' .. STAMP .. ')(.*)$' -- age of its job, what the row says of it, last value's time, values
local TRIAL = '^[SF]' .. STAMP .. ('%x'):rep(32) .. ('%d'):rep(6) .. '%['

local wrong = wrong_type({
  'string', 'string', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'list',
  'stream', 'zset', 'hash',
})
if wrong then
  return refuse(wrong)
end
if redis.call('EXISTS', JOB) == 0 then
  return false
end
local batch = cjson.decode(ARGV[1])
local garbage -- the text of the first stored value that can't be understood

-- Whether stream id `left` comes before `right`. As text, because the parts may exceed what a double holds.
local function before(left, right)
  local function less(a, b)
    return #a < #b or (#a == #b and a < b)
  end
  local left_time, left_number = left:match('^(%d+)%-?(%d*)$')
  local right_time, right_number = right:match('^(%d+)%-?(%d*)$')
  if left_time ~= right_time then
    return less(left_time, right_time)
  end
  return less(left_number == '' and '0' or left_number, right_number == '' and '0' or right_number)
end

local function later(a, b)
  return a < b and b or a
end

local position = redis.call('GET', POSITION) or '0'
if not position:match('^%d+%-?%d*$') then
  return refuse(POSITION .. ' holds no stream id')
end
local ahead = before(position, batch.position)

-- First part: read and decide. Nothing is written before everything was found in order.

local trials = {} -- index -> what stands for the trial, false if nothing does
local function trial_of(index)
  if trials[index] ~= nil then
    return trials[index]
  end
  local stored = redis.call('HGET', TRIALS, index)
  trials[index] = false
  if stored and stored:match(TRIAL) then
    local summary = stored:sub(56)
    local entry, _, reason = unpack(cjson.decode(summary))
    trials[index] = {
      outcome = stored:sub(1, 1), token = stored:sub(2, 49), retries = tonumber(stored:sub(50, 55)),
      entry = entry, reason = reason, summary = summary,
    }
  elseif stored then
    garbage = garbage or TRIALS .. ' field ' .. index .. ' holds no trial'
  end
  return trials[index]
end

local failures = {} -- index:attempt -> digest of the failure that the attempt reported, false if it did not
local function failure_of(field)
  if failures[field] == nil then
    failures[field] = redis.call('HGET', FAILURES, field)
  end
  return failures[field]
end

local counted = {} -- key -> field -> by how much the number there changes
local function count(key, field, change)
  counted[key] = counted[key] or {}
  counted[key][field] = (counted[key][field] or 0) + change
end

local function count_outcome(trial, change)
  if trial.outcome == 'S' then
    count(ENTRIES, 'succeeded:' .. trial.entry, change)
  else
    count(ENTRIES, 'failed:' .. trial.entry, change)
    count(ENTRIES, 'reason:' .. trial.reason .. ':' .. trial.entry, change)
  end
end

local changed = {} -- indices of trials to write
local function take(item, present)
  if present then
    item.retries = math.max(item.retries, present.retries + 1)
    count_outcome(present, -1)
  end
  count_outcome(item, 1)
  trials[item.index] = item
  changed[item.index] = true
  return 'A'
end

local conflicts = {}
local function set_aside(item)
  local field = item.index .. ':' .. item.digest
  if conflicts[field] or redis.call('HEXISTS', CONFLICTS, field) == 1 then
    return 'D'
  end
  conflicts[field] = item
  return 'C'
end

local function decide_failure(item, present)
  local field = item.index .. ':' .. item.attempt
  local known = failure_of(field)
  if known then
    return known == item.digest and 'D' or set_aside(item)
  end
  failures[field] = item.digest
  if not present or present.token < item.token then
    return take(item, present)
  end
  present.retries = present.retries + 1
  changed[item.index] = true
  return 'S'
end

local function decide(item)
  local present = trial_of(item.index)
  if present and present.token:sub(17) == item.digest then
    return 'D'
  elseif item.aside then
    return set_aside(item)
  elseif item.outcome == 'F' and present and present.outcome == 'S' then
    return 'S'
  elseif item.outcome == 'F' then
    return decide_failure(item, present)
  elseif present and present.outcome == 'S' then
    return set_aside(item)
  end
  return take(item, present)
end

local items, verdicts, newest, argument = {}, {}, '', 2
for number = 1, batch.results do
  local kind, index, token, attempt, entry, reason, retries, stamp, record, curves, summary =
    unpack(ARGV, argument, argument + RESULT_ARGUMENTS - 1)
  argument = argument + RESULT_ARGUMENTS
  local item = {
    outcome = kind:sub(1, 1), aside = #kind > 1, index = index, token = token, digest = token:sub(17),
    attempt = attempt, entry = entry, reason = reason, retries = tonumber(retries), stamp = stamp,
    record = record, curves = curves, summary = summary,
  }
  items[number] = item
  verdicts[number] = decide(item)
end
for _, item in ipairs(items) do
  if trials[item.index] == item then
    newest = later(newest, item.stamp)
  end
end

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

local progress = {}
for _ = 1, batch.progress do
  local index, attempt, report, point = unpack(ARGV, argument, argument + PROGRESS_ARGUMENTS - 1)
  argument = argument + PROGRESS_ARGUMENTS
  local present = trial_of(index)
  if ahead and not (present and present.outcome == 'S') and not failure_of(index .. ':' .. attempt) then
    progress[#progress + 1] = {index = index, attempt = attempt, report = report, point = point}
  end
end

local rejections = {}
for _ = 1, batch.rejections do
  local id, reason, rejection = unpack(ARGV, argument, argument + REJECTION_ARGUMENTS - 1)
  argument = argument + REJECTION_ARGUMENTS
  if before(position, id) then
    count(REJECTED, reason, 1)
    rejections[#rejections + 1] = rejection
  end
end

for key, fields in pairs(counted) do
  for field, change in pairs(fields) do
    local number = tonumber(redis.call('HGET', key, field) or '0')
    garbage = not number and (garbage or key .. ' field ' .. field .. ' holds no number') or garbage
    fields[field] = (number or 0) + change
  end
end
if garbage then
  return refuse(garbage)
end

-- Second part: write. Nothing below can fail.

-- Calls the command once for each CHUNK of its further arguments.
local function call_in_chunks(command, key, arguments)
  for start = 1, #arguments, CHUNK do
    redis.call(command, key, unpack(arguments, start, math.min(start + CHUNK - 1, #arguments)))
  end
end

local trial_fields, record_fields, curve_fields, indices = {}, {}, {}, {}
local function push(list, index, value)
  list[#list + 1] = index
  list[#list + 1] = value
end
for index in pairs(changed) do
  local trial = trials[index]
  push(trial_fields, index, trial.outcome .. trial.token .. ('%06d'):format(math.min(trial.retries, 999999)) .. trial.summary)
  if trial.record then
    push(record_fields, index, trial.record)
    push(curve_fields, index, trial.curves)
    indices[#indices + 1] = index
  end
end
call_in_chunks('HSET', TRIALS, trial_fields)
call_in_chunks('HSET', RECORDS, record_fields)
call_in_chunks('HSET', CURVES, curve_fields)
call_in_chunks('HDEL', PROGRESS, indices)
call_in_chunks('HDEL', LIVE, indices)
for entry, identity in pairs(batch.ids) do
  redis.call('HSETNX', ENTRIES, 'id:' .. entry, identity)
end
for field, digest in pairs(failures) do
  if digest then
    redis.call('HSETNX', FAILURES, field, digest)
  end
end
for field, item in pairs(conflicts) do
  redis.call('HSETNX', CONFLICTS, field, '[' .. item.record .. ',' .. item.curves .. ']')
end
for position, of_key in pairs(rows) do
  for entry, row in pairs(of_key) do
    if row.changed then
      redis.call('HSET', KEYS[position], entry, batch.age .. '\n' .. batch.heads[entry] .. '\n' .. row.stamp .. row.values)
    end
  end
end
for _, cohort in pairs(cohorts) do
  local key, id, stamp = unpack(cohort)
  local last = redis.call('HGET', key, 'last:' .. id)
  if not last or last < stamp then
    redis.call('HSET', key, 'last:' .. id, stamp)
  end
  redis.call('HSETNX', COHORTS, id, batch.cohorts[id])
end
for key, fields in pairs(counted) do
  for field, number in pairs(fields) do
    if number == 0 then
      redis.call('HDEL', key, field)
    else
      redis.call('HSET', key, field, ('%.0f'):format(number))
    end
  end
end
if newest ~= '' then
  redis.call('ZADD', BOARDS, 'GT', ('%.0f'):format(tonumber(newest, 16)), batch.board)
end
for _, item in ipairs(progress) do
  redis.call('HSET', PROGRESS, item.index, item.report)
  local live = redis.call('HGET', LIVE, item.index)
  if not live or live:match('^[^\n]*') ~= item.attempt then
    live = item.attempt
  elseif #live + #item.point > batch.live_bytes then -- the older half goes
    live = item.attempt .. live:sub(live:find('\n', #live / 2, true) or #live + 1)
  end
  if item.point ~= '' then
    live = live .. '\n' .. item.point
  end
  redis.call('HSET', LIVE, item.index, live)
end
for _, rejection in ipairs(rejections) do
  redis.call('LPUSH', REJECTIONS, rejection)
end
redis.call('LTRIM', REJECTIONS, 0, batch.rejections_kept - 1)
if ahead then
  redis.call('SET', POSITION, batch.position)
  redis.call('XTRIM', INBOX, 'MINID', batch.position)
end
return table.concat(verdicts)
