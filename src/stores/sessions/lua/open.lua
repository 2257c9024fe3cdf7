-- KEYS: 5 the token. ARGV: the session's id, user, created_at, last_used_at, expires_at, user_agent, address.
-- Returns 0 where session or token belong to others.
local token, id, expires_at = KEYS[5], ARGV[1], tonumber(ARGV[5])
local family = redis.call('HGET', token, 'session')
if family and family ~= id then
  return 0
end
if redis.call('HEXISTS', SESSIONS, id) == 1 then
  return family and 1 or 0
end
if not family then
  redis.call('HSET', token, 'session', id, 'expires_at', ARGV[5])
  keep(token, expires_at)
end
save(id, {
  user = ARGV[2],
  created_at = tonumber(ARGV[3]),
  last_used_at = tonumber(ARGV[4]),
  expires_at = expires_at,
  user_agent = ARGV[6],
  address = ARGV[7],
})
redis.call('ZADD', BY_USER, 0, ARGV[2] .. ':' .. id)
redis.call('ZADD', BY_EXPIRY, expires_at, id)
return 1
