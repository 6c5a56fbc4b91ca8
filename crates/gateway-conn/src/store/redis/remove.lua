-- ARGV[4] field, [5] session id, [6] epoch, or nothing for any. Replies whether it was there, and how many sessions the user has left.
local gone = 0
for _, record in ipairs(load()) do
  if record.field == ARGV[4] and record.session_id == ARGV[5] and (ARGV[6] == '' or record.epoch == tonumber(ARGV[6])) then
    drop(record, nil)
    settle()
    gone = 1
  end
end
return { gone, redis.call('HLEN', KEYS[1]) }
