-- KEYS: 5 the token. ARGV: now.
local now = tonumber(ARGV[1])
local token = redis.call('HMGET', KEYS[5], 'session', 'expires_at')
if not token[1] or tonumber(token[2]) <= now then
  return false
end
local row = session(token[1])
return row and row.expires_at > now and reply(token[1], row)
