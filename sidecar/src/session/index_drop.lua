#!lua flags=allow-oom
-- Takes a session out of its user's index. One that becomes the user's in this moment is named there before its
-- document says so: it stays.
-- KEYS[1] index  KEYS[2] since
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] session's id  ARGV[3] ms in which a session is young
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] > tonumber(ARGV[1]) then return 'LATE' end
local since = redis.call('ZSCORE', KEYS[2], ARGV[2])
if since and time[1] * 1000 - since < tonumber(ARGV[3]) then return 'YOUNG' end
redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
return 'OK'
