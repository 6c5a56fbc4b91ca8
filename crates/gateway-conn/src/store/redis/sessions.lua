-- What the scripts below share. One user's keys, in one slot:
--   KEYS[1] sessions    platform:device -> record as JSON
--   KEYS[2] platforms   platform -> devices on it, as a JSON list
--   KEYS[3] tombstones  platform:device -> "epoch kind laid", and "!" -> the highest epoch that ever left
-- ARGV[1] life of the sessions, ARGV[2] life of the tombstones, both in milliseconds; ARGV[3] the caller's clock.
-- Numbers stay below 2^53, where Lua's are exact.

local ttl, grave_ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3]))

local function text(number)
  return string.format('%.0f', number)
end

-- Every session of the user. What cannot be read is taken out: nobody could ever remove it.
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

-- The highest epoch that this user was ever given, as far as is known.
local function highest(all)
  local top = tonumber(redis.call('HGET', KEYS[3], '!') or '0') or 0
  for _, record in ipairs(all) do top = math.max(top, record.epoch) end
  return top
end

-- No epoch at or below this is given again, whatever becomes of the sessions.
local function remember(epoch)
  local top = tonumber(redis.call('HGET', KEYS[3], '!') or '0') or 0
  if epoch > top then redis.call('HSET', KEYS[3], '!', text(epoch)) end
end

-- Forgets tombstones that are over, where there are many: devices come and go, and the hash lives as long as the user.
local function sweep()
  if redis.call('HLEN', KEYS[3]) < 32 then return end
  local flat = redis.call('HGETALL', KEYS[3])
  for i = 1, #flat, 2 do
    local laid = tonumber(string.match(flat[i + 1], ' (%d+)$') or '')
    if laid and laid + grave_ttl < now then redis.call('HDEL', KEYS[3], flat[i]) end
  end
end

-- Takes a session out; with a kind somebody else ended it, and a tombstone tells whom it concerns.
local function drop(record, kind)
  redis.call('HDEL', KEYS[1], record.field)
  remember(record.epoch)
  if kind then
    sweep()
    redis.call('HSET', KEYS[3], record.field, text(record.epoch) .. ' ' .. kind .. ' ' .. text(now))
  end
end

-- Writes what follows from the sessions, and lets everything live for another while.
local function settle()
  local devices = {}
  for _, record in ipairs(load()) do
    local on = devices[record.platform] or {}
    on[#on + 1] = record.device_id
    devices[record.platform] = on
  end
  redis.call('DEL', KEYS[2])
  for platform, on in pairs(devices) do redis.call('HSET', KEYS[2], platform, cjson.encode(on)) end
  redis.call('PEXPIRE', KEYS[1], ttl)
  redis.call('PEXPIRE', KEYS[2], ttl)
  redis.call('PEXPIRE', KEYS[3], math.max(ttl, grave_ttl))
end

local function jsons(records, first)
  local out = { first }
  for _, record in ipairs(records) do out[#out + 1] = record.json end
  return out
end
