-- Moves reports from the stream that was the inbox in version 0.1.0 to the inbox: what runners of that version append is
-- collected too. What moved is gone from the stream at once, so no id that somebody gave an entry can do harm.
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
  redis.call('XDEL', stream, position) -- collected, and kept then because something had to say how far that was
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
