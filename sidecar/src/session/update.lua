#!lua
-- Replaces a session's bytes if they are still the ones that the new bytes were made from.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] sha1 of the base  ARGV[3] bytes  ARGV[4] life in ms
-- Returns {word, milliseconds left, current bytes when they are others}
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', -2, false} end
if redis.call('HEXISTS', KEYS[2], 'deleted') == 1 then return {'DELETED', -2, false} end
local bytes = redis.call('GET', KEYS[1])
if not bytes then return {'MISSING', -2, false} end
if redis.sha1hex(bytes) ~= ARGV[2] then return {'CONFLICT', redis.call('PTTL', KEYS[1]), bytes} end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
-- A read comes last: it is what arms client tracking for the next change.
redis.call('STRLEN', KEYS[1])
return {'OK', tonumber(ARGV[4]), false}
