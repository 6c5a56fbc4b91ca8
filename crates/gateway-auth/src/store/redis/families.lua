-- What the scripts below share. KEYS[1] is one user's refresh families:
--   <SHA-256 of a token, hex> -> {family, device, platform, state, expires_at}
--   family:<id>               -> {subject, device, platform, current, previous, spent_at, spent, access_until,
--                                 expires_at, opened}; `spent` holds hashes with commas between them, oldest first
-- ARGV[1] is the caller's clock in milliseconds. Numbers stay below 2^53, where Lua's are exact.

local now = tonumber(ARGV[1])
local DAY = 86400000
local MOST_SPENT = 256

local function family_of(id)
  local json = redis.call('HGET', KEYS[1], 'family:' .. id)
  return json and cjson.decode(json)
end

local function put_family(id, family)
  redis.call('HSET', KEYS[1], 'family:' .. id, cjson.encode(family))
end

local function put_token(hash, id, family, state, expires_at)
  redis.call('HSET', KEYS[1], hash, cjson.encode({
    family = id, device = family.device, platform = family.platform, state = state, expires_at = expires_at,
  }))
end

local function finish(id, family)
  redis.call('HDEL', KEYS[1], 'family:' .. id, family.current)
  for hash in string.gmatch(family.spent, '[^,]+') do redis.call('HDEL', KEYS[1], hash) end
end

-- All families, those that are long over taken out, in the order of their logins.
local function load()
  local all, flat = {}, redis.call('HGETALL', KEYS[1])
  for i = 1, #flat, 2 do
    local id = string.match(flat[i], '^family:(.+)$')
    if id then
      local family = cjson.decode(flat[i + 1])
      family.id = id
      if family.expires_at + DAY <= now then finish(id, family) else all[#all + 1] = family end
    end
  end
  table.sort(all, function(a, b) return a.opened < b.opened end)
  return all
end

-- The key lives as long as the last thing in it, and a day longer, to say "expired" rather than "unknown".
local function settle()
  local last = 0
  for _, family in ipairs(load()) do last = math.max(last, family.expires_at + DAY) end
  if last > now then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last - now)) end
end
