#!lua flags=allow-oom
-- Deletes a session and leaves a tombstone, so that no late write of ours brings it back. Once: the same operation
-- sent again only says that it was applied.
-- Allowed out of memory: somebody must be able to log out then.
-- KEYS[1] session  KEYS[2] sibling
-- ARGV[1] deadline (Redis TIME in us)  ARGV[2] operation id (8 bytes)  ARGV[3] sha1 of the base, or empty for any
-- ARGV[4] life of the tombstone in ms  ARGV[5] an Idempotency-Key and what is asked under it, or empty
-- Returns {word, milliseconds left, current bytes when they are others, 1 if an operation may be forgotten}
local ops = redis.call('HGET', KEYS[2], 'ops') or ''
for at = 1, #ops, 8 do
  if string.sub(ops, at, at + 7) == ARGV[2] then
    -- A write, so that a WAIT after this waits for the operation too.
    redis.call('HSET', KEYS[2], 'ops', ops)
    return {'APPLIED', -2, false, 0}
  end
end
local kept = ARGV[5] ~= '' and redis.call('HGET', KEYS[2], 'kept') or ''
for at = 1, #kept, 80 do
  if string.sub(kept, at, at + 19) == string.sub(ARGV[5], 1, 20) then
    if string.sub(kept, at + 20, at + 39) ~= string.sub(ARGV[5], 21) then return {'REUSED', -2, false, 0} end
    redis.call('HSET', KEYS[2], 'kept', kept)
    return {'REPLAYED', -2, string.sub(kept, at + 40, at + 79), 0}
  end
end
local forgetful = #ops >= 128 and 1 or 0
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return {'LATE', -2, false, 0} end
local bytes = redis.call('GET', KEYS[1])
if not bytes and redis.call('HEXISTS', KEYS[2], 'deleted') == 1 then return {'DELETED', -2, false, forgetful} end
if not bytes then return {'MISSING', -2, false, 1} end
if ARGV[3] ~= '' and redis.sha1hex(bytes) ~= ARGV[3] then
  return {'CONFLICT', redis.call('PTTL', KEYS[1]), bytes, forgetful}
end
redis.call('DEL', KEYS[1])
-- What was applied before stays known: who lost the answer to a write learns of it even now.
redis.call('HSET', KEYS[2], 'deleted', now[1], 'ops', string.sub(ops .. ARGV[2], -128))
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[2], 'kept', string.sub(kept .. ARGV[5] .. string.rep('-', 40), -640))
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
-- A read comes last: it is what arms client tracking for the next change.
redis.call('EXISTS', KEYS[1])
return {'OK', -2, false, 0}
