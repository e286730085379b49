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

-- The text of what is wrong with the types of KEYS, or nil. `expected` is by position; further keys are hashes.
local function wrong_type(expected)
  for position, key in ipairs(KEYS) do
    local found, wanted = redis.call('TYPE', key).ok, expected[position] or 'hash'
    if found ~= 'none' and found ~= wanted then
      return key .. ' holds a ' .. found .. ' where a ' .. wanted .. ' belongs'
    end
  end
end
