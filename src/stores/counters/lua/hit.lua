-- KEYS: 1 the counter, a hash {start, finish, count}. ARGV: the window's start and end, the amount, how long to keep a new window.
local start = redis.call('HGET', KEYS[1], 'start')
if start and tonumber(ARGV[1]) <= tonumber(start) then
  return redis.call('HINCRBY', KEYS[1], 'count', ARGV[3])
end
redis.call('HSET', KEYS[1], 'start', ARGV[1], 'finish', ARGV[2], 'count', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return tonumber(ARGV[3])
