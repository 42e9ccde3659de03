#!lua
-- The last count if it is young enough, or else the right to count for all pods.
-- KEYS[1] count  KEYS[2] lock
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] greatest age in ms  ARGV[3] token  ARGV[4] life of the lock in ms
-- Returns {word, count, 1 if it is exact, its age in ms}, with YOURS Redis' time in ms instead of the age
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] > tonumber(ARGV[1]) then return {'LATE', 0, 0, 0} end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('HMGET', KEYS[1], 'count', 'exact', 'begun')
if last[1] and now - last[3] < tonumber(ARGV[2]) then
  return {'FRESH', tonumber(last[1]), tonumber(last[2]), now - last[3]}
end
if redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) then return {'YOURS', 0, 0, now} end
return {'TAKEN', 0, 0, 0}
