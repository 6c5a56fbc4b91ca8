-- ARGV[3] how long it is remembered what was told, in milliseconds; then for each device: `gone` or `here`, device, the
-- mark that this is said of. Replies how many were told.
local told = 0
for i = 4, #ARGV, 3 do
  local verdict, device, mark = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('HGET', KEYS[3], device) == mark then
    if verdict == 'gone' then
      local epoch, rest = string.match(mark, '^(%d+) (.*)$')
      tell('offline', device, epoch, rest)
      note(device, epoch, now + tonumber(ARGV[3]))
      told = told + 1
    else
      forget(device)
    end
  end
end
live()
return told
