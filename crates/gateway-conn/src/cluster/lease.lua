-- KEYS[1] the node's lease. ARGV: boot, when it started, address, load, life in milliseconds.
-- Of two processes with one name the one that started last has it.
local held = redis.call('HMGET', KEYS[1], 'boot', 'started')
if held[1] and held[1] ~= ARGV[1] and (tonumber(held[2]) or 0) > tonumber(ARGV[2]) then return 'taken' end
redis.call('HSET', KEYS[1], 'boot', ARGV[1], 'started', ARGV[2], 'address', ARGV[3], 'load', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if held[1] == ARGV[1] then return 'renewed' end
return 'made'
