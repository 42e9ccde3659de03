#!lua flags=allow-oom
-- Says which incarnation of its data this Redis has, and begins a new one where data may have been lost.
-- Allowed out of memory: whether a session is absent must be known then too.
-- KEYS[1] record
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] run_id of this server  ARGV[3] 1 to begin a new one in any case
-- ARGV[4] n, ARGV[5] run_id, ARGV[6] since: the incarnation that the caller remembers (0 and empty if none)
-- Returns the record: "n run_id since", since being Redis TIME in us
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the deadline has passed')
end
local record = redis.pcall('GET', KEYS[1])
local n, run_id, since
if type(record) == 'string' then n, run_id, since = string.match(record, '^(%d+) (%S+) (%d+)$') end
n = tonumber(n) or 0
local known = tonumber(ARGV[4])
local replaced = n == known and run_id == ARGV[5] and since ~= ARGV[6]
if n == 0 or run_id ~= ARGV[2] or n < known or replaced or ARGV[3] == '1' then
  local us = string.format('%.0f', now[1] * 1000000 + now[2])
  redis.call('SET', KEYS[1], string.format('%.0f', math.max(n, known) + 1) .. ' ' .. ARGV[2] .. ' ' .. us)
end
-- A read comes last: it is what arms client tracking for the next change.
return redis.call('GET', KEYS[1])
