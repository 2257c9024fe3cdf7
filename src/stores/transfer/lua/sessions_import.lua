-- ARGV: the columns of each, empty where there is no number.
for at = 1, #ARGV, 9 do
  local id, user, expires_at, ended_at = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 4]), tonumber(ARGV[at + 7])
  if redis.call('HEXISTS', SESSIONS, id) == 0 then
    save(id, {
      user = user,
      created_at = tonumber(ARGV[at + 2]),
      last_used_at = tonumber(ARGV[at + 3]),
      expires_at = expires_at,
      user_agent = ARGV[at + 5],
      address = ARGV[at + 6],
      ended_at = ended_at,
      stepped_up_at = tonumber(ARGV[at + 8]),
    })
    redis.call('ZADD', BY_EXPIRY, expires_at, id)
    if ended_at then
      redis.call('ZADD', ENDED, ended_at, id)
    else
      redis.call('ZADD', BY_USER, 0, user .. ':' .. id)
    end
  end
end
