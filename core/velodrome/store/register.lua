-- Remembers a job, unless its uid is known. Returns 1 if it is new, else 0. Of a job that is known, entries that were
-- deleted from the board take their place on it again: it is raced once more, or imported.
-- KEYS: job, all jobs, the board's jobs, boards, the board's entries, position in the inbox
-- ARGV: uid, job as JSON, created_at in seconds, age (see writing.py), board, entry names …

local wrong = wrong_type({'string', 'zset', 'zset', 'zset', 'hash', 'string'})
if wrong then
  return refuse(wrong)
end
local uid, document, created, age, board = unpack(ARGV, 1, 5)
local known = redis.call('GET', KEYS[1])
local own = {} -- the entries that the job was registered with, where it is known
if known then
  local stored = cjson.decode(known)
  if stored.board ~= board then
    return 0
  end
  age = ('%016x'):format(redis.call('ZSCORE', KEYS[2], uid) or created) .. uid:gsub('.', function(letter)
    return ('%02x'):format(letter:byte())
  end)
  for _, entry in ipairs(stored.entries) do
    own[entry] = true
  end
else
  redis.call('SET', KEYS[1], document)
  redis.call('SETNX', KEYS[6], '0')
  redis.call('ZADD', KEYS[2], created, uid)
  redis.call('ZADD', KEYS[3], created, uid)
  redis.call('ZADD', KEYS[4], 'GT', created, board)
end
for position = 6, #ARGV do
  local newest = redis.call('HGET', KEYS[5], ARGV[position])
  if (not known or own[ARGV[position]]) and (not newest or newest:match('^%x*') < age) then
    redis.call('HSET', KEYS[5], ARGV[position], age .. '\n' .. uid)
  end
end
return known and 0 or 1
