-- ARGV: "expired" or "ended", up to when, at most how many. Returns how many were removed.
local index = ARGV[1] == 'ended' and ENDED or BY_EXPIRY
local ids = redis.call('ZRANGEBYSCORE', index, '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do
  local row = session(id)
  if row then
    redis.call('ZREM', BY_USER, row.user .. ':' .. id)
    redis.call('HDEL', SESSIONS, id)
  end
  redis.call('ZREM', BY_EXPIRY, id)
  redis.call('ZREM', ENDED, id)
end
return #ids
