-- Stores a job with new rounds, in place of the stored one, and counts the change: what was planned may be ranked by it.
-- KEYS: job, changes
-- ARGV: board, the stored job as it was read, the new one
-- Returns 1 if it was stored, or 0 if the stored job changed since it was read.

local wrong = wrong_type({'string', 'hash'})
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
return 1
