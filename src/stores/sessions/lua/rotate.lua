-- KEYS: 5 the token, 6 its successor. ARGV: the successor's hash, now, expires_at, the time since which an exchange may be repeated.
-- A token is a hash {session, expires_at}, with successor and spent_at once it is spent; without spent_at where that
-- is not known.
-- Returns {outcome, session}: 0 unknown, 1 rotated, 2 reused.
local old, new = KEYS[5], KEYS[6]
local successor, now, expires_at, since = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local token = redis.call('HMGET', old, 'session', 'expires_at', 'successor', 'spent_at')
local id = token[1]
if not id or tonumber(token[2]) <= now then
  return {0, false}
end
local row = session(id)
if not row or row.expires_at <= now then
  return {0, false}
end
if token[3] and (token[3] ~= successor or tonumber(token[4] or 0) <= since) then
  if not row.ended_at then
    finish(id, row, now)
  end
  return {2, reply(id, row)}
end
if row.ended_at then
  return {0, false}
end
if not token[3] then
  redis.call('HSET', old, 'successor', successor, 'spent_at', ARGV[2])
end
if redis.call('EXISTS', new) == 0 then
  redis.call('HSET', new, 'session', id, 'expires_at', ARGV[3])
  keep(new, expires_at)
end
row.last_used_at = math.max(row.last_used_at, now)
row.expires_at = expires_at
save(id, row)
redis.call('ZADD', BY_EXPIRY, expires_at, id)
return {1, reply(id, row)}
