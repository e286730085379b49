-- Put before each of the store's scripts. A script first reads and checks all that it needs and only then writes:
-- Redis does not undo what a script wrote before it failed.

local function refuse(text)
  return redis.error_reply('VELODROME ' .. text)
end

-- How many reports were collected, from what is stored of it; nil if that is no such number. A job of version 0.1.0 has
-- the id of a stream's entry there, and has collected nothing of its list.
local function position_in(stored)
  if not stored or stored:match('^%d+%-%d+$') then
    return 0
  end
  return stored:match('^%d+$') and #stored < 16 and tonumber(stored) or nil
end

-- What orders behind a place, and a time no earlier than that: so what comes later is newer, whatever clocks say. Where a
-- clock was far ahead, there is room between two places for what an import puts there.
local ROOM_FROM, ROOM = 300000000, 1000000 -- microseconds
local function place_after(top, time)
  if not top or time > top then
    return time
  end
  local step = top - time > ROOM_FROM and ROOM or 1
  while top + step == top do -- doubles of the year 2255 and later are whole numbers no more
    step = step * 2
  end
  return top + step
end

-- The largest score of a sorted set; nil without any.
local function top_of(key)
  local found = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  return tonumber(found[2])
end

-- Sorts jobs from old to new; those of one place by uid, so that there is always a newer one.
local function age_of(place, uid)
  return ('%016x'):format(place) .. uid:gsub('.', function(letter)
    return ('%02x'):format(letter:byte())
  end)
end

-- The text of what is wrong with the types of KEYS, or nil. `expected` is by position; further keys are hashes.
local function wrong_type(expected)
  for position, key in ipairs(KEYS) do
    local found, wanted = redis.call('TYPE', key).ok, expected[position] or 'hash'
    if found ~= 'none' and found ~= wanted then
      return key .. ' holds a ' .. found .. ' where a ' .. wanted .. ' belongs'
    end
  end
end
