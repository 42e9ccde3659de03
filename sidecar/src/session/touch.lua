#!lua flags=allow-oom
-- Renews a session's life without changing a byte, and only when enough of it has passed to matter.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] life in ms  ARGV[3] renew when fewer ms than this are left
-- Returns {word, milliseconds left, bytes}
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', -2, false} end
if not redis.call('GET', KEYS[1]) then return {'MISSING', -2, false} end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
-- A read comes last: it is what arms client tracking for the next change.
return {'OK', left, redis.call('GET', KEYS[1])}
