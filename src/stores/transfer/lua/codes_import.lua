-- ARGV: purpose, user, the hash of the code, and when it expires, of each.
for index = 1, #ARGV, 4 do
  local place, code = ARGV[index] .. ':' .. ARGV[index + 1], ARGV[index + 2]
  if redis.call('HEXISTS', CODES, place) == 0 then
    redis.call('HSET', CODES, place, code)
    redis.call('HSET', HOLDERS, code, place)
    redis.call('ZADD', EXPIRY, ARGV[index + 3], place)
  end
end
