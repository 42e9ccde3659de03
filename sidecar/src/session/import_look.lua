#!lua flags=no-writes
-- KEYS[1] session  KEYS[2] sibling
-- Returns {bytes or false, 1 if the session was deleted lately}
return {redis.call('GET', KEYS[1]), redis.call('HEXISTS', KEYS[2], 'deleted')}
