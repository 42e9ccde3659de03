#!lua flags=allow-oom
-- Takes the lease over, if it is still what the caller has watched.
-- KEYS[1] lease
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] the lease's bytes
-- ARGV[3] the new record's beginning, up to its term  ARGV[4] the least term
-- Returns {1 or 0, the lease that is there now, Redis TIME in us}
local now = redis.call('TIME')
local us = now[1] * 1000000 + now[2]
if us > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the deadline has passed')
end
local lease = redis.pcall('GET', KEYS[1])
local taken = 0
if lease == ARGV[2] then
  local term = math.max(tonumber(ARGV[4]), us)
  redis.call('SET', KEYS[1], ARGV[3] .. string.format('%.0f', term) .. ',"beat":0}')
  taken = 1
end
lease = redis.pcall('GET', KEYS[1])
return {taken, type(lease) == 'string' and lease, string.format('%.0f', us)}
