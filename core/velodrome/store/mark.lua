-- Stores or removes a mark, counts the change, and writes it into the board's log.
-- KEYS: the marks of that kind, changes, the board's log, the job's info
-- ARGV: HSET, HSETNX or HDEL; board, field, the mark if it is to be stored; how often the board's marks had changed when
--       the person saw them, or '' if that is no matter; the most that the log holds; and the log's new field and text,
--       or '' for none
-- Returns 1 if a mark was added or removed, 0 if not, -1 if the marks changed since the person saw them, and -2 if the
-- job is gone. Below 0 it wrote nothing.

local wrong = wrong_type({[4] = 'string'})
if wrong then
  return refuse(wrong)
end
local command, board, field, mark, seen, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local number = redis.call('HGET', KEYS[2], 'marks:' .. board)
if number and not tonumber(number) then
  return refuse(KEYS[2] .. ' field marks:' .. board .. ' holds no number')
end
if seen ~= '' and (number or '0') ~= seen then
  return -1
end
if command ~= 'HDEL' and redis.call('EXISTS', KEYS[4]) == 0 then
  return -2
end
local there = redis.call('HGET', KEYS[1], field)
if (command == 'HSETNX' and there) or (command == 'HDEL' and not there) then
  return 0
end
if command == 'HDEL' then
  redis.call('HDEL', KEYS[1], field)
else
  redis.call('HSET', KEYS[1], field, mark)
end
redis.call('HINCRBY', KEYS[2], 'marks:' .. board, 1)
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[7], ARGV[8])
  if redis.call('HLEN', KEYS[3]) > most then
    local fields = redis.call('HKEYS', KEYS[3])
    table.sort(fields)
    redis.call('HDEL', KEYS[3], unpack(fields, 1, #fields - most))
  end
end
return (command == 'HSET' and there) and 0 or 1
