#!lua flags=allow-oom
-- Deletes again what was deleted before Redis lost the deletion, and leaves the tombstone, whatever is there.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] operation id (8 bytes)  ARGV[3] life of the tombstone in ms
-- Returns {word, milliseconds left, current bytes when they are others, operation ids that Redis remembers, TIME in us}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ops = redis.call('HGET', KEYS[2], 'ops') or ''
if now > tonumber(ARGV[1]) then return {'LATE', -2, false, ops, now} end
if redis.call('HEXISTS', KEYS[2], 'deleted') == 1 then return {'APPLIED', -2, false, ops, now} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'deleted', time[1], 'ops', string.sub(ops .. ARGV[2], -128))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
-- A read comes last: it is what arms client tracking for the next change.
redis.call('EXISTS', KEYS[1])
return {'OK', -2, false, ops, now}
