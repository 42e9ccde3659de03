#!lua flags=no-writes
-- Reads a session that was not found a moment ago, and whether it was deleted.
-- KEYS[1] session  KEYS[2] sibling
-- Returns {word, milliseconds left (-1: no end), bytes}
local bytes = redis.call('GET', KEYS[1])
if bytes then return {'OK', redis.call('PTTL', KEYS[1]), bytes} end
if redis.call('HEXISTS', KEYS[2], 'deleted') == 1 then return {'DELETED', -2, false} end
return {'MISSING', -2, false}
