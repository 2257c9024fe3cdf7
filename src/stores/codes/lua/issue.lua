-- ARGV: purpose, user, the hash of the code, expires_at. Returns 0 where somebody else has this code.
local place = ARGV[1] .. ':' .. ARGV[2]
local holder = redis.call('HGET', HOLDERS, ARGV[3])
if holder and holder ~= place then
  return 0
end
remove(place)
redis.call('HSET', CODES, place, ARGV[3])
redis.call('HSET', HOLDERS, ARGV[3], place)
redis.call('ZADD', EXPIRY, ARGV[4], place)
return 1
