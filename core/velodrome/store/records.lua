-- Results with their curves, of one moment: a success that takes a failure's place changes both.
-- Not a transaction, because a Redis that is full refuses every one, and then an export is what is needed.
-- KEYS: records, curves; ARGV: indices

local wrong = wrong_type({})
if wrong then
  return refuse(wrong)
end
return {redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
