#!lua
-- Gives the right to count back, with the count if there is one.
-- KEYS[1] count  KEYS[2] lock
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] token  ARGV[3] Redis' time at the begin in ms
-- ARGV[4] count, or empty  ARGV[5] 1 if it is exact  ARGV[6] life of the count in ms
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] > tonumber(ARGV[1]) then return {'LATE', 0, 0, 0} end
if redis.call('GET', KEYS[2]) == ARGV[2] then redis.call('DEL', KEYS[2]) end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'count', ARGV[4], 'exact', ARGV[5], 'begun', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return {'OK', 0, 0, 0}
