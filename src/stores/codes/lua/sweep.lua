-- ARGV: up to when, at most how many. Returns how many were removed.
local places = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, place in ipairs(places) do
  remove(place)
end
return #places
