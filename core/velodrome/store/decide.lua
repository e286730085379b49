-- Accepting, part 1 of 3: decides what each result is. Read rank.lua and write.lua next; the three are one script.
--
-- The script takes a batch of one job's results, progress and rejections, as a whole or not at all. It also moves the
-- inbox position, which is the number of collected reports. That many reports were removed from the inbox's left end.
-- Returns a letter for each result (A accepted, D duplicate, C conflict, S superseded), or nil for an unknown job.
-- The same batch may be sent again. A result is written once. Progress and rejections count only while their position
-- in the inbox lies ahead. encoding.py describes the arguments. Measured values are kept as the bytes that came: a
-- number loses digits if Lua reads and writes it.

local JOB, POSITION, TRIALS, RECORDS, CURVES, CONFLICTS, FAILURES, PROGRESS, LIVE, ENTRIES, REJECTED, REJECTIONS,
  INBOX, BOARDS, COHORTS, SAMPLES, CHANGES, JOBS, BOARD_TIMES, SCORES = unpack(KEYS, 1, 20)
local RESULT_ARGUMENTS, PROGRESS_ARGUMENTS, REJECTION_ARGUMENTS = 14, 4, 3
local CHUNK = 1000 -- arguments of one command: Lua passes fewer than 8000
local STAMP = ('%x'):rep(16) -- a time in microseconds, in hexadecimal, so that it compares as text
local TRIAL = '^[SF]' .. STAMP .. ('%x'):rep(32) .. ('%d'):rep(6) .. '%['

local wrong = wrong_type({
  'string', 'string', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'hash', 'list',
  'list', 'zset', 'hash', 'hash', 'hash', 'zset', 'hash', 'hash',
})
if wrong then
  return refuse(wrong)
end
if redis.call('EXISTS', JOB) == 0 then
  return false
end
local batch = cjson.decode(ARGV[1])
batch.age = age_of(tonumber(redis.call('ZSCORE', JOBS, batch.uid) or '0'), batch.uid)
local garbage -- describes the first stored value that can't be read

local function later(a, b)
  return a < b and b or a
end

local position = position_in(redis.call('GET', POSITION))
if not position then
  return refuse(POSITION .. ' holds no count of reports')
end
local ahead = position < batch.position

local trials = {} -- index -> the trial's present result, or false
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

local failures = {} -- index:attempt -> digest of the failure that the attempt reported, or false
local function failure_of(field)
  if failures[field] == nil then
    failures[field] = redis.call('HGET', FAILURES, field)
  end
  return failures[field]
end

local counted = {} -- key -> field -> what is added to the number there
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
  local kind, index, token, attempt, entry, reason, retries, stamp, record, curves, summary, code, scores, set =
    unpack(ARGV, argument, argument + RESULT_ARGUMENTS - 1)
  argument = argument + RESULT_ARGUMENTS
  local item = {
    outcome = kind:sub(1, 1), aside = #kind > 1, index = index, token = token, digest = token:sub(17),
    attempt = attempt, entry = entry, reason = reason, retries = tonumber(retries), stamp = stamp,
    record = record, curves = curves, summary = summary, code = code, scores = scores, set = set,
  }
  items[number] = item
  verdicts[number] = decide(item)
end

-- codes: entry -> the code of its first success; mixed: entry -> whether another success ran other code
local codes, mixed = {}, {}
for _, item in ipairs(items) do
  local entry = item.entry
  if trials[item.index] == item then
    newest = later(newest, item.stamp)
    if item.outcome == 'S' and item.code ~= '' then
      if not codes[entry] then
        codes[entry] = redis.call('HGET', ENTRIES, 'code:' .. entry) or item.code
        mixed[entry] = redis.call('HEXISTS', ENTRIES, 'mixed:' .. entry) == 1
      end
      mixed[entry] = mixed[entry] or codes[entry] ~= item.code
    end
  end
end
