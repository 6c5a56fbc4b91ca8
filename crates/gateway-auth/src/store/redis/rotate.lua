-- ARGV[2] token presented, [3] whether its device is said, [4] the device, [5] successor, [6] its expiry,
-- [7] end of the access token beside it, [8] how long a spent token may come again.
load()
local json = redis.call('HGET', KEYS[1], ARGV[2])
local token = json and cjson.decode(json)
local family = token and family_of(token.family)
if not family then return { 'unknown' } end
local id = token.family
local same_device = ARGV[3] == '0' or ARGV[4] == family.device
if family.reused then
  return { 'reused', id, family.subject, string.format('%.0f', family.access_until) }
end
-- This very rotation was carried out before, and its reply was lost.
if family.current == ARGV[5] and family.previous == ARGV[2] and same_device then
  return { 'rotated', id, family.subject }
end
if family.current == ARGV[2] then
  if not same_device then return { 'wrong_device' } end
  if family.expires_at <= now then return { 'expired' } end
  family.previous, family.spent_at = ARGV[2], now
else
  -- A clock that was set back must not make the window longer.
  local again = family.previous == ARGV[2] and family.spent_at <= now and now - family.spent_at <= tonumber(ARGV[8])
  if not again or not same_device then
    -- It stays, of no use to anybody, until its revocation is written: a caller that is cut off in between must not leave
    -- its access tokens alive.
    family.reused = true
    put_family(id, family)
    return { 'reused', id, family.subject, string.format('%.0f', family.access_until) }
  end
end
local replaced = family.current
local spent = {}
for hash in string.gmatch(family.spent, '[^,]+') do spent[#spent + 1] = hash end
spent[#spent + 1] = replaced
if #spent > MOST_SPENT then redis.call('HDEL', KEYS[1], table.remove(spent, 1)) end
family.spent = table.concat(spent, ',')
put_token(replaced, id, family, 'spent', family.expires_at)
family.current, family.expires_at = ARGV[5], tonumber(ARGV[6])
family.access_until = math.max(family.access_until, tonumber(ARGV[7]))
put_family(id, family)
put_token(ARGV[5], id, family, 'live', family.expires_at)
settle()
return { 'rotated', id, family.subject }
