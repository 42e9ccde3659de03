#!lua flags=no-writes
-- Reads a session and what is left of its life.
-- One key: the sibling would keep a session from being read while its slot moves to another node.
-- KEYS[1] session
-- Returns {word, milliseconds left (-1: no end), bytes}
local bytes = redis.call('GET', KEYS[1])
if not bytes then return {'MISSING', -2, false} end
return {'OK', redis.call('PTTL', KEYS[1]), bytes}
