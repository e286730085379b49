-- Moves reports from the stream, which was the inbox in version 0.1.0, to the inbox. So the reports of that version's
-- runners are collected too. A moved report is deleted from the stream at once, so no id of an entry can do harm.
-- KEYS: stream, inbox, position; ARGV: field of a report, most bytes of a report, bytes that are enough
-- Returns how many entries moved.

local wrong = wrong_type({'stream', 'list', 'string'})
if wrong then
  return refuse(wrong)
end
local stream, inbox = KEYS[1], KEYS[2]
local field, most, enough = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local position = redis.call('GET', KEYS[3])
if position and position:match('^%d+%-%d+$') then
  redis.call('XDEL', stream, position) -- a collected entry, which version 0.1.0 kept to know its position
end
local moved, bytes = 0, 0
while bytes < enough do
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not entry then
    redis.call('DEL', stream)
    break
  end
  local report = ''
  for place = 1, #entry[2], 2 do
    if entry[2][place] == field then
      report = entry[2][place + 1]:sub(1, most)
    end
  end
  redis.call('RPUSH', inbox, report)
  redis.call('XDEL', stream, entry[1])
  moved, bytes = moved + 1, bytes + #report + 64
end
return moved
