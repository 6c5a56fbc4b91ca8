-- KEYS[1] the node's lease. ARGV: boot, when it started, address, load, life in milliseconds, id of the call.
-- Of two processes with one name the one that started last has it. A call that made the lease and comes twice, because its
-- reply was lost, has made it the second time too.
local held = redis.call('HMGET', KEYS[1], 'boot', 'started', 'made')
if held[1] and held[1] ~= ARGV[1] and (tonumber(held[2]) or 0) > tonumber(ARGV[2]) then return 'taken' end
local made = held[1] ~= ARGV[1] or held[3] == ARGV[6]
redis.call('HSET', KEYS[1], 'boot', ARGV[1], 'started', ARGV[2], 'address', ARGV[3], 'load', ARGV[4])
if made then redis.call('HSET', KEYS[1], 'made', ARGV[6]) end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return made and 'made' or 'renewed'
