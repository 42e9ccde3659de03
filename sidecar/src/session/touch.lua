#!lua flags=allow-oom
-- Renews a session's life without changing a byte, and only when enough of it has passed to matter.
-- One key: the sibling would keep a session from being touched while its slot moves to another node.
-- KEYS[1] session
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] life in ms  ARGV[3] renew when fewer ms than this are left
-- ARGV[4] sha1 of the base, or empty for any
-- Returns {word, milliseconds left, bytes, 0: to come twice changes nothing}
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', -2, false, 0} end
local bytes = redis.call('GET', KEYS[1])
if not bytes then return {'MISSING', -2, false, 0} end
local left = redis.call('PTTL', KEYS[1])
if ARGV[4] ~= '' and redis.sha1hex(bytes) ~= ARGV[4] then return {'CONFLICT', left, bytes, 0} end
if left >= 0 and left < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
-- A read comes last: it is what arms client tracking for the next change.
return {'OK', left, redis.call('GET', KEYS[1]), 0}
