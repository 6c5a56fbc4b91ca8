-- What the scripts below share. One user's keys, in one slot:
--   KEYS[1] sessions    platform:device -> record as JSON
--   KEYS[2] platforms   platform -> devices on it, as a JSON list
--   KEYS[3] tombstones  platform:device -> "epoch kind session laid"; "!" -> the highest epoch of all, those that are
--                       gone included: whoever writes a session writes it too, and it outlives the session; "?" and
--                       "?kick" -> the reply of the last bind and the last kick that ended sessions, as a JSON list that
--                       begins with the call's id
-- A call may be carried out twice, where a connection was lost before its reply: the second one replies as the first.
-- ARGV[1] life of the sessions, ARGV[2] life of the tombstones, both in milliseconds; ARGV[3] the caller's clock.
-- Numbers stay below 2^53, where Lua's are exact.
-- Every call of a command costs more than what it does, and a script holds everybody up: so it reads once, writes what has
-- changed, and hands numbers on as the text that they came as.

local ttl, grave_ttl = ARGV[1], ARGV[2]

local function now()
  local time = redis.call('TIME')
  return math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3]))
end

local function text(number)
  return string.format('%.0f', number)
end

-- Every session of the user, the oldest first. What cannot be read is taken out: nobody could ever remove it.
local function load()
  local all, flat = {}, redis.call('HGETALL', KEYS[1])
  for i = 1, #flat, 2 do
    local fine, record = pcall(cjson.decode, flat[i + 1])
    if fine and type(record) == 'table' and type(record.epoch) == 'number' then
      record.field, record.json = flat[i], flat[i + 1]
      all[#all + 1] = record
    else
      redis.call('HDEL', KEYS[1], flat[i])
    end
  end
  table.sort(all, function(a, b) return a.epoch < b.epoch end)
  return all
end

local function grave_of(field)
  local laid = redis.call('HGET', KEYS[3], field)
  if not laid then return nil end
  local epoch, kind = string.match(laid, '^(%d+) (%S+)')
  return epoch and { epoch = tonumber(epoch), kind = kind }
end

-- The highest epoch that this user was ever given: none at or below it is given again, whatever becomes of the sessions.
local function top()
  return tonumber(redis.call('HGET', KEYS[3], '!') or '0') or 0
end

-- The sessions that a former call with this id ended, as it replied them; nil where the last such call was another.
local function repeated(stored, id)
  local fine, list = pcall(cjson.decode, stored or '')
  if not fine or type(list) ~= 'table' or list[1] ~= id then return nil end
  table.remove(list, 1)
  return list
end

local function reply_of(id, records)
  local list = { id }
  for _, record in ipairs(records) do list[#list + 1] = record.json end
  return cjson.encode(list)
end

-- Forgets tombstones that are over, where there are many: devices come and go, and the hash lives as long as the user.
local function sweep(at)
  if redis.call('HLEN', KEYS[3]) < 32 then return end
  local flat = redis.call('HGETALL', KEYS[3])
  for i = 1, #flat, 2 do
    local laid = tonumber(string.match(flat[i + 1], ' (%d+)$') or '')
    if laid and laid + grave_ttl < at then redis.call('HDEL', KEYS[3], flat[i]) end
  end
end

-- Takes sessions out that somebody else ended; tombstones tell whom it concerns.
local function bury(records, kind)
  if #records == 0 then return end
  local at = now()
  sweep(at)
  for _, record in ipairs(records) do
    redis.call('HDEL', KEYS[1], record.field)
    local whose = tostring(record.session_id)
    redis.call('HSET', KEYS[3], record.field, text(record.epoch) .. ' ' .. kind .. ' ' .. whose .. ' ' .. text(at))
    record.gone = true
  end
end

-- Writes which devices are on a platform: those of these sessions that are not gone, and that of a field that has come.
local function list(platform, all, come)
  local on = { come and string.match(come, ':(.*)$') }
  for _, record in ipairs(all) do
    if record.platform == platform and not record.gone then on[#on + 1] = record.device_id end
  end
  if #on > 0 then
    redis.call('HSET', KEYS[2], platform, cjson.encode(on))
  else
    redis.call('HDEL', KEYS[2], platform)
  end
end

-- Lets everything live for another while.
local function live()
  redis.call('PEXPIRE', KEYS[1], ttl)
  redis.call('PEXPIRE', KEYS[2], ttl)
  redis.call('PEXPIRE', KEYS[3], grave_ttl)
end

local function jsons(records, first)
  local out = { first }
  for _, record in ipairs(records) do out[#out + 1] = record.json end
  return out
end
