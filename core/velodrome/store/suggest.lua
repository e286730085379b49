-- Stores the parameters of a search trial once, and tells its runner. Only the first suggestion for an index counts.
-- KEYS: suggestions of the search, its instructions
-- ARGV: index, suggestion as JSON, field of the instructions
-- Returns the suggestion that counts.

local wrong = wrong_type({'hash', 'hash'})
if wrong then
  return refuse(wrong)
end
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
local counts = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[3], counts)
return counts
