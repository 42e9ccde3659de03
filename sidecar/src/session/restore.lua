#!lua
-- Puts back what Redis has lost of a session: onto nothing, onto the bytes that the lost ones came after, or onto
-- older ones that were put back before.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] sha1 of the bytes that may be replaced, or empty
-- ARGV[3] bytes  ARGV[4] life in ms  ARGV[5] version in ms  ARGV[6] the lost operation ids, 8 bytes each; or empty
-- ARGV[7] life of what is remembered of them, in ms
-- ARGV[8] Redis TIME in us before which nothing is made that is missing: somebody may have yet to tell of its deletion
-- Returns {word, milliseconds left, current bytes when they are others, operation ids that Redis remembers, TIME in us}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ops = redis.call('HGET', KEYS[2], 'ops') or ''
local last = string.sub(ARGV[6], -8)
for at = 1, #ops, 8 do
  if string.sub(ops, at, at + 7) == last then return {'APPLIED', redis.call('PTTL', KEYS[1]), false, ops, now} end
end
if now > tonumber(ARGV[1]) then return {'LATE', -2, false, ops, now} end
if redis.call('HEXISTS', KEYS[2], 'deleted') == 1 then return {'DELETED', -2, false, ops, now} end
local bytes = redis.call('GET', KEYS[1])
if not bytes and now < tonumber(ARGV[8]) then return {'EARLY', -2, false, ops, now} end
if bytes then
  local digest = redis.sha1hex(bytes)
  if digest == redis.sha1hex(ARGV[3]) then return {'APPLIED', redis.call('PTTL', KEYS[1]), false, ops, now} end
  local restored = redis.call('HGET', KEYS[2], 'restored') == digest
  local older = restored and tonumber(redis.call('HGET', KEYS[2], 'version')) < tonumber(ARGV[5])
  if digest ~= ARGV[2] and not older then
    return {restored and 'NEWER' or 'CONFLICT', redis.call('PTTL', KEYS[1]), bytes, ops, now}
  end
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('HSET', KEYS[2], 'ops', string.sub(ops .. ARGV[6], -128),
  'restored', redis.sha1hex(ARGV[3]), 'version', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
-- A read comes last: it is what arms client tracking for the next change.
redis.call('STRLEN', KEYS[1])
return {'OK', tonumber(ARGV[4]), false, ops, now}
