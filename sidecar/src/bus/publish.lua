#!lua
-- Gives a message its place, keeps it for whoever misses it, and tells everybody.
-- KEYS[1] top  KEYS[2] stream  KEYS[3] lease  KEYS[4] fence  KEYS[5] pods
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] n, ARGV[3] run_id: the incarnation that the caller has met
-- ARGV[4] channel  ARGV[5] envelope  ARGV[6] messages and ARGV[7] bytes that are kept
-- ARGV[8] term and ARGV[9] nonce that it is fenced with, or empty  ARGV[10] 1: the pods are told, too
-- ARGV[11] a channel of the original and ARGV[12] what is said there, or empty
-- Returns {word, n, seq, process and row of each pod in turns}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then return {'LATE'} end
local term = tonumber(ARGV[8])
if term then
  local lease = redis.pcall('GET', KEYS[3])
  local known, record = pcall(cjson.decode, type(lease) == 'string' and lease or '')
  if not known or type(record) ~= 'table' or record.term ~= term or record.nonce ~= ARGV[9] then return {'STALE'} end
  if (tonumber(redis.call('GET', KEYS[4])) or 0) > term then return {'STALE'} end
end
local top = redis.call('HMGET', KEYS[1], 'n', 'run_id', 'seq', 'bytes')
local n, run_id, seq, bytes = tonumber(top[1]), top[2], tonumber(top[3]), tonumber(top[4]) or 0
-- A number that was lost is not given again: time has gone on.
if not n or not seq then n, run_id, seq, bytes = -1, '', now, 0 end
local met = tonumber(ARGV[2])
if met > n then n, run_id = met, ARGV[3] end
seq = seq + 1
local id = string.format('%.0f-%.0f', n, seq)
local added = redis.pcall('XADD', KEYS[2], id, 'm', ARGV[5])
if type(added) == 'table' and added.err then
  -- Somebody else has been there. Who is behind is told of a gap.
  redis.call('DEL', KEYS[2])
  redis.call('XADD', KEYS[2], id, 'm', ARGV[5])
  bytes = 0
end
bytes = bytes + #ARGV[5]
local count = redis.call('XLEN', KEYS[2])
while count > 1 and (count > tonumber(ARGV[6]) or bytes > tonumber(ARGV[7])) do
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
  bytes = bytes - #(first[1][2][2] or '')
  count = count - 1
  redis.call('XTRIM', KEYS[2], 'MAXLEN', count)
end
redis.call('HSET', KEYS[1], 'n', string.format('%.0f', n), 'run_id', run_id, 'seq', string.format('%.0f', seq),
  'bytes', string.format('%.0f', bytes))
if term then redis.call('SET', KEYS[4], ARGV[8]) end
redis.call('PUBLISH', ARGV[4], id .. ' ' .. ARGV[5])
if ARGV[11] ~= '' then redis.call('PUBLISH', ARGV[11], ARGV[12]) end
local answer = {'OK', string.format('%.0f', n), string.format('%.0f', seq)}
if ARGV[10] == '1' then
  for _, word in ipairs(redis.call('HGETALL', KEYS[5])) do answer[#answer + 1] = word end
end
return answer
