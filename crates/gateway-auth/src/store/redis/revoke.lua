-- KEYS[1] a revocation. ARGV[1] how long it is to be remembered, in milliseconds: a later end stays.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], 1, 'PX', ARGV[1]) end
return 1
