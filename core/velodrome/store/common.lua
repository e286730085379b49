-- The beginning of each of the store's scripts. A script first reads and checks everything that it needs, and then
-- writes: Redis does not undo what a script wrote before it failed.

local function refuse(text)
  return redis.error_reply('VELODROME ' .. text)
end

-- The number of collected reports, from its stored text. Returns nil if the text is no such number. For a job of
-- version 0.1.0 the text is the id of a stream's entry. Nothing of the job's list was collected then.
local function position_in(stored)
  if not stored or stored:match('^%d+%-%d+$') then
    return 0
  end
  return stored:match('^%d+$') and #stored < 16 and tonumber(stored) or nil
end

-- The place of a new item: its time, or a place after `top` if its time is not later than `top`. So a later item is
-- always newer, whatever clocks say. If a clock was far ahead, it leaves room between two places for later imports.
local ROOM_FROM, ROOM = 300000000, 1000000 -- microseconds
local function place_after(top, time)
  if not top or time > top then
    return time
  end
  local step = top - time > ROOM_FROM and ROOM or 1
  while top + step == top do -- from the year 2255 on, a double can't hold every whole number of microseconds
    step = step * 2
  end
  return top + step
end

-- The largest score of a sorted set, or nil if the set is empty.
local function top_of(key)
  local found = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  return tonumber(found[2])
end

-- A text that sorts jobs from old to new. It sorts jobs with the same place by uid, so that one of them is newer.
local function age_of(place, uid)
  return ('%016x'):format(place) .. uid:gsub('.', function(letter)
    return ('%02x'):format(letter:byte())
  end)
end

-- What is wrong with the types of KEYS, as text, or nil. `expected` has the types by position; further keys are hashes.
local function wrong_type(expected)
  for position, key in ipairs(KEYS) do
    local found, wanted = redis.call('TYPE', key).ok, expected[position] or 'hash'
    if found ~= 'none' and found ~= wanted then
      return key .. ' holds a ' .. found .. ' where a ' .. wanted .. ' belongs'
    end
  end
end
