-- Counts what waits in inboxes. Nothing is changed here.
-- KEYS: inbox, stream of version 0.1.0, inbox, stream …; ARGV: the number of reports that is too many to measure
-- Returns for each pair how many reports wait and how many bytes of memory they use, or -1 and 0 if that can't be read.

local found, too_many = {}, tonumber(ARGV[1])
for number = 1, #KEYS, 2 do
  local list, stream = redis.pcall('LLEN', KEYS[number]), redis.pcall('XLEN', KEYS[number + 1])
  local reports, bytes = -1, 0
  if type(list) == 'number' and type(stream) == 'number' then
    reports = list + stream
    if list > 0 and reports < too_many then
      bytes = bytes + redis.call('MEMORY', 'USAGE', KEYS[number], 'SAMPLES', 0)
    end
    if stream > 0 and reports < too_many then
      bytes = bytes + redis.call('MEMORY', 'USAGE', KEYS[number + 1], 'SAMPLES', 0)
    end
  end
  found[#found + 1], found[#found + 2] = reports, bytes
end
return found
