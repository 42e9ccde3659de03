#!lua flags=no-writes
-- KEYS[1] since  KEYS[2] not before
-- ARGV[1] session's id
-- Returns {the user's not-before mark, since when the session is the user's}, each false if there is none
return {redis.call('GET', KEYS[2]), redis.call('ZSCORE', KEYS[1], ARGV[1])}
