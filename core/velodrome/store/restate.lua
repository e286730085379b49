-- Stores a job anew, with further rounds or with how its search ended, and counts the change: what was planned may be
-- ranked by it. Where a search ended, it also tells that to the runners of the trials that confirm its winners.
-- KEYS: job, changes, and the instructions if there are fields of them
-- ARGV: board, the stored job as it was read, the new one, then each field of the instructions and its text
-- Returns 1 if it was stored, or 0 if the stored job changed since it was read.

local wrong = wrong_type({'string', 'hash', 'hash'})
if wrong then
  return refuse(wrong)
end
local board = ARGV[1]
local number = redis.call('HGET', KEYS[2], 'results:' .. board)
if number and not tonumber(number) then
  return refuse(KEYS[2] .. ' field results:' .. board .. ' holds no number')
end
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('HINCRBY', KEYS[2], 'results:' .. board, 1)
for place = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[3], ARGV[place], ARGV[place + 1])
end
return 1
