-- Stores or removes a mark, and counts the change.
-- KEYS: the board's marks of that kind, changes
-- ARGV: HSET, HSETNX or HDEL; board, field, and the mark if it is to be stored
-- Returns 1 if a mark was added or removed, else 0.

local wrong = wrong_type({})
if wrong then
  return refuse(wrong)
end
local command, board = ARGV[1], ARGV[2]
local number = redis.call('HGET', KEYS[2], 'marks:' .. board)
if number and not tonumber(number) then
  return refuse(KEYS[2] .. ' field marks:' .. board .. ' holds no number')
end
local done = redis.call(command, KEYS[1], unpack(ARGV, 3))
if done == 1 or command == 'HSET' then
  redis.call('HINCRBY', KEYS[2], 'marks:' .. board, 1)
end
return done
