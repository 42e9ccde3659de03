#!lua
-- Creates a session, or replaces its bytes if they are still the ones that the new bytes were made from. Once:
-- the same operation sent again only says that it was applied.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] operation id (8 bytes)
-- ARGV[3] sha1 of the base, or empty: there must be none  ARGV[4] bytes  ARGV[5] life in ms
-- ARGV[6] life of what is remembered of the operation, in ms
-- ARGV[7] an Idempotency-Key and what is asked under it (20 bytes each), or empty
-- Returns {word, milliseconds left, current bytes when they are others or the ETag of a request that came before, 1 if an operation may be forgotten}
local ops = redis.call('HGET', KEYS[2], 'ops') or ''
for at = 1, #ops, 8 do
  if string.sub(ops, at, at + 7) == ARGV[2] then
    -- A write, so that a WAIT after this waits for the operation too.
    redis.call('HSET', KEYS[2], 'ops', ops)
    return {'APPLIED', redis.call('PTTL', KEYS[1]), false, 0}
  end
end
local kept = ARGV[7] ~= '' and redis.call('HGET', KEYS[2], 'kept') or ''
for at = 1, #kept, 80 do
  if string.sub(kept, at, at + 19) == string.sub(ARGV[7], 1, 20) then
    if string.sub(kept, at + 20, at + 39) ~= string.sub(ARGV[7], 21) then return {'REUSED', -2, false, 0} end
    redis.call('HSET', KEYS[2], 'kept', kept)
    return {'REPLAYED', -2, string.sub(kept, at + 40, at + 79), 0}
  end
end
local forgetful = #ops >= 128 and 1 or 0
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', -2, false, 0} end
if redis.call('HEXISTS', KEYS[2], 'deleted') == 1 then return {'DELETED', -2, false, forgetful} end
local bytes = redis.call('GET', KEYS[1])
if bytes and redis.sha1hex(bytes) ~= ARGV[3] then return {'CONFLICT', redis.call('PTTL', KEYS[1]), bytes, forgetful} end
if not bytes and ARGV[3] ~= '' then return {'MISSING', -2, false, 1} end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
redis.call('HSET', KEYS[2], 'ops', string.sub(ops .. ARGV[2], -128))
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[2], 'kept', string.sub(kept .. ARGV[7] .. redis.sha1hex(ARGV[4]), -640))
end
redis.call('PEXPIRE', KEYS[2], ARGV[6])
-- A read comes last: it is what arms client tracking for the next change.
redis.call('STRLEN', KEYS[1])
return {'OK', tonumber(ARGV[5]), false, 0}
