-- Stores the reading of a board, in place of the stored one. Stores nothing if the board changed since, or is gone.
-- KEYS: the stored reading, changes, the board's jobs, the board's entries
-- ARGV: board, its version when it was read, then fields and values
-- Returns 1 if it was stored, else 0.

local wrong = wrong_type({'hash', 'hash', 'zset', 'hash'})
if wrong then
  return refuse(wrong)
end
local board = ARGV[1]
local jobs = redis.call('ZCARD', KEYS[3])
local now = table.concat({
  redis.call('HGET', KEYS[2], 'results:' .. board) or '0',
  redis.call('HGET', KEYS[2], 'marks:' .. board) or '0',
  jobs,
  redis.call('HLEN', KEYS[4]),
}, '.')
if jobs == 0 or now ~= ARGV[2] then
  return 0
end
redis.call('DEL', KEYS[1])
for place = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
end
redis.call('HSET', KEYS[1], 'version', ARGV[2])
return 1
