#!lua flags=no-writes
-- Reads the messages that follow a place, and which one is the last.
-- KEYS[1] top  KEYS[2] stream
-- ARGV[1] n and ARGV[2] seq of the first that is wanted  ARGV[3] how many at most
-- Returns {n, run_id, seq, number and envelope of each in turns}; of no top, nothing
local top = redis.call('HMGET', KEYS[1], 'n', 'run_id', 'seq')
if not top[1] or not top[2] or not top[3] then return {} end
local type = redis.call('TYPE', KEYS[2]).ok
if type ~= 'stream' then return top end
local last = ARGV[1] .. '-18446744073709551615'
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], ARGV[1] .. '-' .. ARGV[2], last, 'COUNT', ARGV[3])) do
  top[#top + 1] = string.match(entry[1], '-(%d+)$')
  top[#top + 1] = entry[2][1] == 'm' and entry[2][2] or ''
end
return top
