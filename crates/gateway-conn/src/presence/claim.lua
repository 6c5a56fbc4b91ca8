-- ARGV[3] how long a claim lasts in milliseconds, ARGV[4] how many at once. Replies how many were due, and device and mark of
-- each that is to be looked at.
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[4])
local out = {}
for _, device in ipairs(due) do
  local mark = redis.call('HGET', KEYS[3], device)
  if mark and string.find(mark, ' ', 1, true) then
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[3])), device)
    out[#out + 1] = { device, mark }
  else
    forget(device)
  end
end
live()
return { #due, out }
