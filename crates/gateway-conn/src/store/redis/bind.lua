-- ARGV[4] field, [5] platform, [6] record as JSON without its end, [7] several devices, [8] a login kicks,
-- [9] most devices (0: any number).
local field, platform = ARGV[4], ARGV[5]
local several, kicks, most = ARGV[7] == '1', ARGV[8] == '1', tonumber(ARGV[9])
local all, highest, displaced, others = load(), top(), {}, {}
for _, record in ipairs(all) do
  highest = math.max(highest, record.epoch)
  if record.field == field then
    displaced[#displaced + 1] = record
  elseif record.platform == platform then
    others[#others + 1] = record
  end
end
local too_many = 0
if kicks then
  too_many = #others
elseif not several then
  if #others > 0 then return jsons(others, 'refused') end
elseif most > 0 then
  too_many = #others - (most - 1)
end
for i = 1, too_many do displaced[#displaced + 1] = others[i] end

local epoch = text(math.max(now(), highest + 1))
bury(displaced, 'replaced')
redis.call('HSET', KEYS[3], '!', epoch)
redis.call('HSET', KEYS[1], field, ARGV[6] .. ',"epoch":' .. epoch .. '}')
list(platform, all, field)
live()
local reply = jsons(displaced, 'bound')
table.insert(reply, 2, epoch)
return reply
