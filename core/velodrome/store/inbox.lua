-- Reads reports of an inbox. The answer has a bounded size, whatever was appended: a report that is too long is cut,
-- and reading stops when there are enough bytes.
-- KEYS: inbox, position; ARGV: number to read after, most reports, most bytes of a report, bytes that are enough
-- Returns the number of the first report, then the reports. Numbers count from 1.

local wrong = wrong_type({'list', 'string'})
if wrong then
  return refuse(wrong)
end
local position = position_in(redis.call('GET', KEYS[2]))
if not position then
  return refuse(KEYS[2] .. ' holds no count of reports')
end
local after, count, most, enough = math.max(position, tonumber(ARGV[1])), tonumber(ARGV[2]), tonumber(ARGV[3]),
  tonumber(ARGV[4])
local found, bytes = {after + 1}, 0
while #found <= count and bytes < enough do
  local report = redis.call('LINDEX', KEYS[1], after - position + #found - 1)
  if not report then
    break
  end
  found[#found + 1] = report:sub(1, most)
  bytes = bytes + math.min(#report, most)
end
return found
