-- Stores the parameters of a search trial once, and tells its runner. Only the first suggestion for an index counts.
-- KEYS: suggestions of the search, its instructions, its turns
-- ARGV: index, suggestion as JSON, start of the instruction with parameters, lane (or empty), start of that of a turn
-- Returns the suggestion that counts, and its turn as LANE:NUMBER (or empty).

local wrong = wrong_type({'hash', 'hash', 'hash'})
if wrong then
  return refuse(wrong)
end
local index, lane = ARGV[1], ARGV[4]
redis.call('HSETNX', KEYS[1], index, ARGV[2])
local counts = redis.call('HGET', KEYS[1], index)
redis.call('HSET', KEYS[2], ARGV[3] .. index, counts)
local turn = redis.call('HGET', KEYS[3], index)
if not turn and lane ~= '' then
  turn = lane .. ':' .. (redis.call('HINCRBY', KEYS[3], 'next:' .. lane, 1) - 1)
  redis.call('HSET', KEYS[3], index, turn)
end
if turn then
  redis.call('HSET', KEYS[2], ARGV[5] .. turn, index)
end
return {counts, turn or ''}
