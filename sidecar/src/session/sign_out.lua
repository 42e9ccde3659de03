#!lua flags=allow-oom
-- Marks that no session that is the user's by now is one any more, whatever Redis' clock did.
-- Allowed out of memory: somebody must be able to log out then.
-- KEYS[1] since  KEYS[2] not before
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] life of the mark in ms
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] > tonumber(ARGV[1]) then return 'LATE' end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local newest = redis.call('ZRANGE', KEYS[1], 0, 0, 'REV', 'WITHSCORES')[2] or 0
local mark = math.max(now, tonumber(newest), tonumber(redis.call('GET', KEYS[2]) or 0))
redis.call('SET', KEYS[2], string.format('%.0f', mark), 'PX', ARGV[2])
return 'OK'
