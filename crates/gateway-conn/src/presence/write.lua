-- ARGV[3] flap window in milliseconds; then for each event: what, device, epoch, rest. Replies how many were told, and how
-- many devices were back in time.
local window, told, flaps = tonumber(ARGV[3]), 0, 0
for i = 4, #ARGV, 4 do
  local what, device, epoch, rest = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local number, mark = tonumber(epoch), mark_of(device)
  if what == 'left' then
    if not mark or mark.epoch < number then note(device, epoch .. ' ' .. rest, now + window) end
  elseif mark and (mark.epoch > number or (mark.epoch == number and what ~= 'back')) then
    -- Gone again already: what is said of it is behind this in the stream, or is it already.
    if not mark.told and mark.epoch == number and what == 'bound' then
      tell('online', device, epoch, rest)
      told = told + 1
    end
  else
    if mark then forget(device) end
    if mark and not mark.told then
      flaps = flaps + 1
    elseif mark or what ~= 'again' then
      tell('online', device, epoch, rest)
      told = told + 1
    end
  end
end
live()
return { told, flaps }
