#!lua flags=no-writes
-- A user's sessions in the order of their expiry, after a given one. A session that lives on moves back in this order,
-- so none that stays is missed.
-- KEYS[1] index
-- ARGV[1] score of the one before, or empty  ARGV[2] its id  ARGV[3] how many  ARGV[4] '1' for those past their expiry only
-- Returns {id, score, id, score, …}
local from = 0
if ARGV[4] == '1' then
  local due = string.format('(%.0f', redis.call('TIME')[1] * 1000)
  return redis.call('ZRANGE', KEYS[1], '-inf', due, 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
end
if ARGV[1] ~= '' then
  local score = redis.call('ZSCORE', KEYS[1], ARGV[2])
  if score and tonumber(score) == tonumber(ARGV[1]) then
    from = redis.call('ZRANK', KEYS[1], ARGV[2]) + 1
  else
    from = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[1])
  end
end
return redis.call('ZRANGE', KEYS[1], from, from + ARGV[3] - 1, 'WITHSCORES')
