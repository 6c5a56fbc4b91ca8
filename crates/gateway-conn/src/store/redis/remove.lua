-- ARGV[4] field, [5] session id, [6] epoch, or nothing for any. Replies whether it was there, and how many sessions the user has left.
local all, gone = load(), 0
for _, record in ipairs(all) do
  if record.field == ARGV[4] and record.session_id == ARGV[5] and (ARGV[6] == '' or record.epoch == tonumber(ARGV[6])) then
    redis.call('HDEL', KEYS[1], record.field)
    record.gone, gone = true, 1
    list(record.platform, all)
    if #all > 1 then live() end
  end
end
-- A bind that is given up is over: the same session may be bound anew, and is then no repetition.
if ARGV[6] == '' then
  local epoch, kind, whose, laid = string.match(redis.call('HGET', KEYS[3], ARGV[4]) or '', '^(%d+) (%S+) (%S+) (%d+)$')
  if whose == ARGV[5] then redis.call('HSET', KEYS[3], ARGV[4], epoch .. ' ' .. kind .. ' - ' .. laid) end
end
return { gone, #all - gone }
