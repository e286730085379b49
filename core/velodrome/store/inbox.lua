-- Reads reports of an inbox, of bounded size whatever was appended: a report that is too long comes cut, and reading
-- stops behind the entry that makes it enough. Nothing is written here.
-- KEYS: inbox; ARGV: id to read after, most entries, field of the report, most bytes of a report, bytes that are enough
-- Returns id, report, id, report …; an entry without a report has an empty one.

local wrong = wrong_type({'stream'})
if wrong then
  return refuse(wrong)
end
local after, field = ARGV[1], ARGV[3]
local count, most, enough = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local found, bytes = {}, 0
while #found < 2 * count and bytes < enough do
  local entry = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 1)[1]
  if not entry then
    break
  end
  local report = ''
  for place = 1, #entry[2], 2 do
    if entry[2][place] == field then
      report = entry[2][place + 1]:sub(1, most)
    end
  end
  found[#found + 1], found[#found + 2] = entry[1], report
  after, bytes = entry[1], bytes + #report
end
return found
