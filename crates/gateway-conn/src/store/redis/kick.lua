-- ARGV[4] device or nothing, [5] platform or nothing, [6] kind. Replies with the sessions left and those kicked.
local kicked = {}
for _, record in ipairs(load()) do
  if (ARGV[4] == '' or record.device_id == ARGV[4]) and (ARGV[5] == '' or record.platform == ARGV[5]) then
    drop(record, ARGV[6])
    kicked[#kicked + 1] = record
  end
end
if #kicked > 0 then settle() end
return jsons(kicked, redis.call('HLEN', KEYS[1]))
