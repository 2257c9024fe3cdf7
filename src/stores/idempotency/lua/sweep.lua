-- ARGV: claimed before when, at most how many. Returns how many were removed.
local keys = redis.call('ZRANGEBYSCORE', BY_CLAIM, '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
for _, key in ipairs(keys) do
  remove(key, reply(key))
end
return #keys
