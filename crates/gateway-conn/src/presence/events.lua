-- What the scripts below share. KEYS[1] the stream; KEYS[2] due: device -> when to look at it, milliseconds;
-- KEYS[3] left: device -> "epoch session node at reason" until it is told, "epoch" for a while afterwards.
-- ARGV[1] life of the keys in milliseconds, ARGV[2] length of the stream.
local life, length = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function mark_of(device)
  local mark = redis.call('HGET', KEYS[3], device)
  if not mark then return nil end
  local epoch, rest = string.match(mark, '^(%d+) ?(.*)$')
  return { epoch = tonumber(epoch), told = rest == '' }
end

local function note(device, mark, at)
  redis.call('HSET', KEYS[3], device, mark)
  redis.call('ZADD', KEYS[2], string.format('%.0f', at), device)
end

local function forget(device)
  redis.call('HDEL', KEYS[3], device)
  redis.call('ZREM', KEYS[2], device)
end

-- Ids come with their spaces written as %20 and % as %25, so that a space separates.
local function plain(id)
  return (string.gsub(id, '%%(%x%x)', function(code) return string.char(tonumber(code, 16)) end))
end

-- An entry of the stream. The reason may be empty.
local function tell(event, device, epoch, rest)
  local user, platform, id = string.match(device, '^([^ ]+) ([^ ]+) ([^ ]+)$')
  local session, node, at, reason = string.match(rest, '^([^ ]+) ([^ ]+) ([^ ]+) ([^ ]*)$')
  if not (user and session) then return end
  local entry = { 'event', event, 'user_id', plain(user), 'platform', platform, 'device_id', plain(id), 'seq', epoch,
    'session_id', session, 'node', node, 'at', at }
  if reason ~= '' then
    entry[#entry + 1] = 'reason'
    entry[#entry + 1] = reason
  end
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', length, '*', unpack(entry))
end

local function live()
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, life) end
end

