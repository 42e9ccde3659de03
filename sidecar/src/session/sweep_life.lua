#!lua flags=no-writes
-- KEYS[1] session
-- Returns ms until it expires, -1 if it never does, -2 if it has
return redis.call('PTTL', KEYS[1])
