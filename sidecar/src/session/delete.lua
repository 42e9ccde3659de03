#!lua flags=allow-oom
-- Deletes a session and leaves a tombstone, so that no late write of ours brings it back.
-- Allowed out of memory: somebody must be able to log out then.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] sha1 of the base, or empty for any  ARGV[3] life of the tombstone in ms
-- Returns {word, milliseconds left, current bytes when they are others}
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', -2, false} end
if redis.call('EXISTS', KEYS[1]) == 0 then return {'MISSING', -2, false} end
if ARGV[2] ~= '' then
  local bytes = redis.call('GET', KEYS[1])
  if redis.sha1hex(bytes) ~= ARGV[2] then return {'CONFLICT', redis.call('PTTL', KEYS[1]), bytes} end
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[2], 'deleted', now[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
-- A read comes last: it is what arms client tracking for the next change.
redis.call('EXISTS', KEYS[1])
return {'OK', -2, false}
