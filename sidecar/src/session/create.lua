#!lua
-- Writes a session that does not exist yet and was not deleted lately.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] bytes  ARGV[3] life in ms
-- Returns {word, milliseconds left, current bytes when they are others}
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', -2, false} end
if redis.call('HEXISTS', KEYS[2], 'deleted') == 1 then return {'DELETED', -2, false} end
local bytes = redis.call('GET', KEYS[1])
if bytes then return {'CONFLICT', redis.call('PTTL', KEYS[1]), bytes} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
-- A read comes last: it is what arms client tracking for the next change.
redis.call('STRLEN', KEYS[1])
return {'OK', tonumber(ARGV[3]), false}
