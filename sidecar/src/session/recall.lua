#!lua flags=allow-oom
-- What became of a request that came before under the same key.
-- KEYS[1] sibling
-- ARGV[1] key and request (20 bytes each)
-- Returns {word, ETag or empty}
local kept = redis.call('HGET', KEYS[1], 'kept') or ''
for at = 1, #kept, 80 do
  if string.sub(kept, at, at + 19) == string.sub(ARGV[1], 1, 20) then
    if string.sub(kept, at + 20, at + 39) ~= string.sub(ARGV[1], 21) then return {'REUSED', ''} end
    -- A write, so that a WAIT after this waits for what came before too.
    redis.call('HSET', KEYS[1], 'kept', kept)
    return {'REPLAYED', string.sub(kept, at + 40, at + 79)}
  end
end
return {'NONE', ''}
