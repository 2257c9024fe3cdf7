-- KEYS: 1 the network. ARGV: expires_at.
local known = redis.call('GET', KEYS[1])
if not known or tonumber(known) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
  keep(KEYS[1], tonumber(ARGV[1]))
end
