#!lua flags=allow-oom
-- Where there is no lease, writes that there is none, in words that nobody else uses: what is missing now may have been
-- there a moment ago, and nobody who only sees that it is missing could tell.
-- KEYS[1] lease
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] the words
-- Returns {1 or 0, the lease that is there now, Redis TIME in us}
local now = redis.call('TIME')
local us = now[1] * 1000000 + now[2]
if us > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the deadline has passed')
end
-- Of another type: as good as none.
local planted = 0
if type(redis.pcall('GET', KEYS[1])) ~= 'string' then
  redis.call('SET', KEYS[1], ARGV[2])
  planted = 1
end
return {planted, redis.call('GET', KEYS[1]), string.format('%.0f', us)}
