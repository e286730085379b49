-- Stores a job, unless its uid is known. Returns 1 if it is new, else 0. If the job is known, its entries that were
-- deleted from the board come back to it: the job is raced again, or imported.
-- The first job of a board decides to which namespace the board belongs. If `exclusive` is not empty and the board
-- belongs to another namespace, nothing is stored, and the answer is that namespace.
-- KEYS: job, all jobs, the board's jobs, boards, the board's entries, position in the inbox, times of boards, owners of
--       boards
-- ARGV: uid, job as JSON, created_at in microseconds, its place or nothing for the next one, board, the namespace to
--       which a new board belongs or nothing, exclusive, entry names …

local wrong = wrong_type({'string', 'zset', 'zset', 'zset', 'hash', 'string', 'hash', 'hash'})
if wrong then
  return refuse(wrong)
end

-- The namespace to which the board belongs. An older version kept none: there it is that of the board's oldest job.
local function owner_of(board)
  local kept = redis.call('HGET', KEYS[8], board)
  if kept then
    return kept
  end
  local oldest = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
  local head = KEYS[1]:sub(1, #KEYS[1] - #ARGV[1] - #':info')
  local info = oldest and redis.call('GET', head .. oldest .. ':info')
  local read, job = pcall(cjson.decode, info or '')
  return read and type(job) == 'table' and type(job.namespace) == 'string' and job.namespace or nil
end

local uid, document, created, place, board = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local known = redis.call('GET', KEYS[1])
local own = {} -- the entries with which a known job was registered
if known then
  local stored = cjson.decode(known)
  if stored.board ~= board then
    return 0
  end
  place = tonumber(redis.call('ZSCORE', KEYS[2], uid) or created)
  for _, entry in ipairs(stored.entries) do
    own[entry] = true
  end
else
  local owner = owner_of(board)
  if ARGV[7] ~= '' and owner and owner ~= ARGV[6] then
    return owner
  end
  if ARGV[6] ~= '' then
    redis.call('HSETNX', KEYS[8], board, owner or ARGV[6])
  end
  local of_board = place or place_after(top_of(KEYS[4]), created)
  if not place or created > (tonumber(redis.call('HGET', KEYS[7], board) or '0') or 0) then
    redis.call('HSET', KEYS[7], board, ('%.0f'):format(created))
  end
  place = place or place_after(top_of(KEYS[2]), created)
  local score = ('%.0f'):format(place)
  redis.call('SET', KEYS[1], document)
  redis.call('SETNX', KEYS[6], '0')
  redis.call('ZADD', KEYS[2], score, uid)
  redis.call('ZADD', KEYS[3], score, uid)
  redis.call('ZADD', KEYS[4], 'GT', ('%.0f'):format(of_board), board)
end
local age = age_of(place, uid)
for position = 8, #ARGV do
  local newest = redis.call('HGET', KEYS[5], ARGV[position])
  if (not known or own[ARGV[position]]) and (not newest or newest:match('^%x*') < age) then
    redis.call('HSET', KEYS[5], ARGV[position], age .. '\n' .. uid)
  end
end
return known and 0 or 1
