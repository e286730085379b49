-- Which inboxes hold reports behind the last one that was collected. Nothing is written here, and no report leaves.
-- KEYS: inbox, position, inbox, position …; returns the numbers, from 1, of those that do, or that can't be read: who
-- then collects it learns why.

local found = {}
for number = 1, #KEYS / 2 do
  local position = redis.pcall('GET', KEYS[2 * number])
  local unread = position
  if type(position) ~= 'table' then
    unread = redis.pcall('XREVRANGE', KEYS[2 * number - 1], '+', '(' .. (position or '0'), 'COUNT', 1)
  end
  if unread.err or #unread > 0 then
    found[#found + 1] = number
  end
end
return found
