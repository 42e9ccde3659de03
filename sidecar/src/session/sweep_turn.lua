#!lua
-- One pod sweeps in a time, whichever asks first.
-- KEYS[1] swept
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] the time in ms
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] > tonumber(ARGV[1]) then return 0 end
return redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[2]) and 1 or 0
