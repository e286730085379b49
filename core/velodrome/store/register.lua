-- Remembers a job, unless its uid is known. Returns 1 if it is new, else 0.
-- KEYS: job, all jobs, the board's jobs, boards, the board's entries, position in the inbox
-- ARGV: uid, job as JSON, created_at in seconds, age (see writing.py), board, entry names …

local wrong = wrong_type({'string', 'zset', 'zset', 'zset', 'hash', 'string'})
if wrong then
  return refuse(wrong)
end
local uid, document, created, age, board = unpack(ARGV, 1, 5)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('SET', KEYS[1], document)
redis.call('SETNX', KEYS[6], '0')
redis.call('ZADD', KEYS[2], created, uid)
redis.call('ZADD', KEYS[3], created, uid)
redis.call('ZADD', KEYS[4], 'GT', created, board)
for position = 6, #ARGV do
  local newest = redis.call('HGET', KEYS[5], ARGV[position])
  if not newest or newest:match('^%x*') < age then
    redis.call('HSET', KEYS[5], ARGV[position], age .. '\n' .. uid)
  end
end
return 1
