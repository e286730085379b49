-- Runs the commands of a removal, all or none of them. It runs none if the board changed since it was read.
-- The first command deletes something: if Redis' memory is full, a script that has begun to write may go on.
-- KEYS: changes, the board's jobs
-- ARGV: board, and as they were read: changes of results, changes of marks, number of jobs; then the commands, with
--       the number of its words before each
-- Returns 1 if the commands ran, else 0.

local wrong = wrong_type({'hash', 'zset'})
if wrong then
  return refuse(wrong)
end
local board = ARGV[1]
if (redis.call('HGET', KEYS[1], 'results:' .. board) or '0') ~= ARGV[2]
  or (redis.call('HGET', KEYS[1], 'marks:' .. board) or '0') ~= ARGV[3]
  or redis.call('ZCARD', KEYS[2]) ~= tonumber(ARGV[4]) then
  return 0
end
local place = 5
while place <= #ARGV do
  local words = tonumber(ARGV[place])
  redis.call(unpack(ARGV, place + 1, place + words))
  place = place + words + 1
end
return 1
