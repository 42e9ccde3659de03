-- Says that a process lives, forgets those that have not said so for long, and tells who is there.
-- KEYS[1] pods  KEYS[2] top of the messages
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] process  ARGV[3] what it says of itself (JSON)
-- ARGV[4] us after which a process is forgotten  ARGV[5] 1 to be told who is there
-- Returns Redis TIME in us and the top, "n-seq", then process and "us JSON" of each in turns
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the deadline has passed')
end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', now) .. ' ' .. ARGV[3])
local top = redis.call('HMGET', KEYS[2], 'n', 'seq')
local there = {string.format('%.0f', now), (top[1] or '0') .. '-' .. (top[2] or '0')}
if ARGV[5] ~= '1' then
  return there
end
local rows = redis.call('HGETALL', KEYS[1])
for row = 1, #rows, 2 do
  local at = tonumber(string.match(rows[row + 1], '^(%d+) '))
  if at and now - at <= tonumber(ARGV[4]) then
    there[#there + 1] = rows[row]
    there[#there + 1] = rows[row + 1]
  else
    redis.call('HDEL', KEYS[1], rows[row])
  end
end
return there
