-- ARGV[4] device or nothing, [5] platform or nothing, [6] kind, [7] id of the call. Replies with the sessions left and those
-- kicked.
local all, kicked, platforms = load(), {}, {}
local before = repeated(redis.call('HGET', KEYS[3], '?kick'), ARGV[7])
if before then
  table.insert(before, 1, text(#all))
  return before
end
for _, record in ipairs(all) do
  if (ARGV[4] == '' or record.device_id == ARGV[4]) and (ARGV[5] == '' or record.platform == ARGV[5]) then
    kicked[#kicked + 1] = record
    platforms[record.platform] = true
  end
end
if #kicked > 0 then
  bury(kicked, ARGV[6])
  redis.call('HSET', KEYS[3], '?kick', reply_of(ARGV[7], kicked))
  for platform in pairs(platforms) do list(platform, all) end
  live()
end
return jsons(kicked, #all - #kicked)
