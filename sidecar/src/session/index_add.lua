#!lua
-- Names a session in its user's index; where it becomes the user's only now, also since when: after every sign-out.
-- KEYS[1] index  KEYS[2] since  KEYS[3] not before
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] session's id  ARGV[3] its life left in ms
-- ARGV[4] ms that the index outlives it  ARGV[5] '1' if the session becomes the user's now
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] > tonumber(ARGV[1]) then return 'LATE' end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], 'GT', now + ARGV[3], ARGV[2])
if ARGV[5] == '1' then
  local mark = tonumber(redis.call('GET', KEYS[3]) or 0)
  redis.call('ZADD', KEYS[2], math.max(now, mark + 1), ARGV[2])
end
local life = ARGV[3] + ARGV[4]
for i = 1, 2 do
  if redis.call('PTTL', KEYS[i]) < life then redis.call('PEXPIRE', KEYS[i], life) end
end
return 'OK'
