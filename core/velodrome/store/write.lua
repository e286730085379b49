-- Accepting, part 3 of 3: reads progress and rejections, does the last checks, and then writes everything.

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
  local number, reason, rejection = unpack(ARGV, argument, argument + REJECTION_ARGUMENTS - 1)
  argument = argument + REJECTION_ARGUMENTS
  if position < tonumber(number) then
    count(REJECTED, reason, 1)
    rejections[#rejections + 1] = rejection
  end
end

if next(changed) then
  count(CHANGES, 'results:' .. batch.board, 1)
end
for key, fields in pairs(counted) do
  for field, change in pairs(fields) do
    local number = tonumber(redis.call('HGET', key, field) or '0')
    if not number then
      garbage = garbage or key .. ' field ' .. field .. ' holds no number'
    end
    fields[field] = (number or 0) + change
  end
end
if garbage then
  return refuse(garbage)
end

-- Everything below writes, and can't fail.

-- Calls the command once for each CHUNK of its further arguments.
local function call_in_chunks(command, key, arguments)
  for start = 1, #arguments, CHUNK do
    redis.call(command, key, unpack(arguments, start, math.min(start + CHUNK - 1, #arguments)))
  end
end

local trial_fields, record_fields, curve_fields, score_fields, indices = {}, {}, {}, {}, {}
local function push(list, index, value)
  list[#list + 1] = index
  list[#list + 1] = value
end
for index in pairs(changed) do
  local trial = trials[index]
  local retries = ('%06d'):format(math.min(trial.retries, 999999))
  push(trial_fields, index, trial.outcome .. trial.token .. retries .. trial.summary)
  if trial.record then
    push(record_fields, index, trial.record)
    push(curve_fields, index, trial.curves)
    if trial.scores ~= '' then
      push(score_fields, index, trial.scores)
      redis.call('HSETNX', SCORES, 'set:' .. trial.set, batch.sets[trial.set])
    end
    indices[#indices + 1] = index
  end
end
call_in_chunks('HSET', TRIALS, trial_fields)
call_in_chunks('HSET', RECORDS, record_fields)
call_in_chunks('HSET', CURVES, curve_fields)
call_in_chunks('HSET', SCORES, score_fields)
call_in_chunks('HDEL', PROGRESS, indices)
call_in_chunks('HDEL', LIVE, indices)
for entry, identity in pairs(batch.ids) do
  redis.call('HSETNX', ENTRIES, 'id:' .. entry, identity)
end
for entry, code in pairs(codes) do
  redis.call('HSETNX', ENTRIES, 'code:' .. entry, code)
  if mixed[entry] then
    redis.call('HSET', ENTRIES, 'mixed:' .. entry, '1')
  end
end
for field, digest in pairs(failures) do
  if digest then
    redis.call('HSETNX', FAILURES, field, digest)
  end
end
for field, item in pairs(conflicts) do
  local scores = item.scores == '' and '' or ',' .. item.scores .. ',' .. batch.sets[item.set]
  redis.call('HSETNX', CONFLICTS, field, '[' .. item.record .. ',' .. item.curves .. scores .. ']')
end
for position, of_key in pairs(rows) do
  local fields = {}
  for entry, row in pairs(of_key) do
    if row.changed then
      local head = mixed[entry] and batch.mixed_heads[entry] or batch.heads[entry]
      push(fields, entry, batch.age .. '\n' .. head .. '\n' .. row.stamp .. row.values)
    end
  end
  call_in_chunks('HSET', KEYS[position], fields)
end
local sample_names, sample_fields = {}, {}
for field in pairs(gained) do
  sample_names[#sample_names + 1] = field
end
for start = 1, #sample_names, CHUNK do
  local chunk = {unpack(sample_names, start, math.min(start + CHUNK - 1, #sample_names))}
  for number, stored in ipairs(redis.call('HMGET', SAMPLES, unpack(chunk))) do
    push(sample_fields, chunk[number], (stored or '') .. gained[chunk[number]])
  end
end
call_in_chunks('HSET', SAMPLES, sample_fields)
for _, cohort in pairs(cohorts) do
  local key, id, stamp = unpack(cohort)
  local last = redis.call('HGET', key, 'last:' .. id)
  if not last or last < stamp then
    redis.call('HSET', key, 'last:' .. id, stamp)
  end
  local order, own = redis.call('HGET', key, 'order:' .. id), batch.age:sub(1, 16)
  if not order or order < own then
    redis.call('HSET', key, 'order:' .. id, own)
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
if newest ~= '' and batch.ranks then
  local time = tonumber(newest, 16)
  local place = batch.imported and time or place_after(top_of(BOARDS), time)
  redis.call('ZADD', BOARDS, 'GT', ('%.0f'):format(place), batch.board)
  if not batch.imported or time > (tonumber(redis.call('HGET', BOARD_TIMES, batch.board) or '0') or 0) then
    redis.call('HSET', BOARD_TIMES, batch.board, ('%.0f'):format(time))
  end
end
for _, item in ipairs(progress) do
  redis.call('HSET', PROGRESS, item.index, item.report)
  local live = redis.call('HGET', LIVE, item.index)
  if not live or live:match('^[^\n]*') ~= item.attempt then
    live = item.attempt
  elseif #live + #item.point > batch.live_bytes then -- drops the older half
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
  redis.call('SET', POSITION, ('%.0f'):format(batch.position))
  redis.call('LTRIM', INBOX, batch.position - position, -1)
end
return table.concat(verdicts)
