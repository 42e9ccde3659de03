#!lua flags=allow-oom
-- Says again who leads, where the original's pods look.
-- KEYS[1] mirror
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] the pod's name, as JSON  ARGV[3] its term
-- ARGV[4] ms that the last heartbeat is told to be ahead  ARGV[5] channel for the announcement, empty for none
-- Returns 1 if somebody else had written there, 0 if not; -1 if a later leader had, whose word stays
local now = redis.call('TIME')
local us = now[1] * 1000000 + now[2]
if us > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the deadline has passed')
end
local mirror = redis.pcall('GET', KEYS[1])
local foreign = 0
if mirror then
  local fence = type(mirror) == 'string' and string.match(mirror, '^{"leaderId":.*,"fencingToken":(%d+)}$')
  if not fence then
    foreign = 1
  elseif tonumber(fence) > tonumber(ARGV[3]) then
    return -1
  end
end
local ms = string.format('%.0f', math.floor(us / 1000))
local heartbeat = string.format('%.0f', math.floor(us / 1000) + ARGV[4])
local fields = '"leaderId":' .. ARGV[2] .. ',"term":' .. ARGV[3] .. ',"lastHeartbeat":' .. heartbeat
  .. ',"status":"active","renewedAt":' .. ms .. ',"fencingToken":' .. ARGV[3] .. '}'
redis.call('SET', KEYS[1], '{' .. fields, 'EX', 40)
if ARGV[5] ~= '' then
  redis.call('PUBLISH', ARGV[5], '{"newLeader":' .. ARGV[2] .. ',' .. fields)
end
return foreign
