-- ARGV[4] field, [5] platform, [6] record as JSON without its end, [7] several devices, [8] a login kicks,
-- [9] most devices (0: any number), [10] session id.
local field, platform, session = ARGV[4], ARGV[5], ARGV[10]
local several, kicks, most = ARGV[7] == '1', ARGV[8] == '1', tonumber(ARGV[9])
local kept = redis.call('HMGET', KEYS[3], '!', '?', field)
local all, highest, displaced, others = load(), tonumber(kept[1] or '0') or 0, {}, {}

-- This very bind was carried out before, and its reply was lost.
local function again(epoch)
  local reply = { 'bound', epoch }
  for _, json in ipairs(repeated(kept[2], session) or {}) do reply[#reply + 1] = json end
  return reply
end

for _, record in ipairs(all) do
  highest = math.max(highest, record.epoch)
  if record.field == field then
    if record.session_id == session then
      live()
      return again(text(record.epoch))
    end
    displaced[#displaced + 1] = record
  elseif record.platform == platform then
    others[#others + 1] = record
  end
end
-- Somebody has ended it since: it is told so as any other session, by its tombstone.
local ended, whose = string.match(kept[3] or '', '^(%d+) %S+ (%S+) ')
if whose == session then return again(ended) end

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
if #displaced > 0 then
  redis.call('HSET', KEYS[3], '!', epoch, '?', reply_of(session, displaced))
else
  redis.call('HSET', KEYS[3], '!', epoch)
end
redis.call('HSET', KEYS[1], field, ARGV[6] .. ',"epoch":' .. epoch .. '}')
list(platform, all, field)
live()
local reply = jsons(displaced, 'bound')
table.insert(reply, 2, epoch)
return reply
