#!lua flags=allow-oom
-- Says which message is the last, in the life of Redis' data that the caller has met, if that is a later one.
-- Allowed out of memory: it writes a few bytes, once in each life.
-- KEYS[1] top
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] n, ARGV[3] run_id: the incarnation that the caller has met
-- ARGV[4] a channel on which a word is said, to be heard by nobody but the caller; or empty
-- Returns {n, run_id, seq}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then return redis.error_reply('LATE the deadline has passed') end
local top = redis.call('HMGET', KEYS[1], 'n', 'run_id', 'seq')
local n, run_id, seq = tonumber(top[1]), top[2], tonumber(top[3])
local met = tonumber(ARGV[2])
if not n or not run_id or not seq or met > n then
  n, run_id, seq = math.max(met, n or 0), ARGV[3], seq or now
  redis.call('HSET', KEYS[1], 'n', string.format('%.0f', n), 'run_id', run_id, 'seq', string.format('%.0f', seq))
end
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], '') end
return {string.format('%.0f', n), run_id, string.format('%.0f', seq)}
