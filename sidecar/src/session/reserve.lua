#!lua
-- The id that a request to create a session gets, the same however often it comes.
-- KEYS[1] the request's key
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] a new id  ARGV[3] request (20 bytes)  ARGV[4] life in ms
-- Returns {word, the id}
local kept = redis.call('GET', KEYS[1])
if kept then
  if string.sub(kept, 1, 20) ~= ARGV[3] then return {'REUSED', ''} end
  return {'OK', string.sub(kept, 21)}
end
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', ''} end
redis.call('SET', KEYS[1], ARGV[3] .. ARGV[2], 'PX', ARGV[4])
return {'OK', ARGV[2]}
