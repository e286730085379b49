-- Reads results with their curves at one moment: a success that replaces a failure changes both.
-- This is a script, since a full Redis refuses every transaction, and an export must work then.
-- KEYS: records, curves; ARGV: indices

local wrong = wrong_type({})
if wrong then
  return refuse(wrong)
end
return {redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
