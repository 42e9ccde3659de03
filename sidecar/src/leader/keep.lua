#!lua flags=allow-oom
-- Renews or resigns the lease, if it is the caller's still.
-- KEYS[1] lease
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] the caller's record, up to its beat  ARGV[3] what ends the new one
-- Returns {1 or 0, the lease that is there now, Redis TIME in us}
local now = redis.call('TIME')
local us = now[1] * 1000000 + now[2]
if us > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the deadline has passed')
end
local lease = redis.pcall('GET', KEYS[1])
local kept = 0
if type(lease) == 'string' and string.sub(lease, 1, #ARGV[2]) == ARGV[2] then
  -- A resigned one does not end in its beat.
  local beat = string.match(lease, '^(%d+)}$', #ARGV[2] + 1)
  if beat then
    redis.call('SET', KEYS[1], ARGV[2] .. string.format('%.0f', beat + 1) .. ARGV[3])
    kept = 1
  end
end
lease = redis.pcall('GET', KEYS[1])
return {kept, type(lease) == 'string' and lease, string.format('%.0f', us)}
