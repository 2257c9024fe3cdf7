-- ARGV: the columns of each, those that may be absent with "=" before them where they are there.
for at = 1, #ARGV, 10 do
  local key = ARGV[at]
  if not reply(key) then
    local row = {
      fingerprint = ARGV[at + 1],
      holder = ARGV[at + 2],
      claimed_at = tonumber(ARGV[at + 3]),
      lease_until = tonumber(ARGV[at + 4]),
      status = tonumber(optional(ARGV[at + 5])),
      headers = optional(ARGV[at + 6]),
      owner = optional(ARGV[at + 8]),
      network = optional(ARGV[at + 9]),
    }
    save(key, row)
    redis.call('ZADD', BY_CLAIM, row.claimed_at, key)
    if row.owner then
      redis.call('ZADD', BY_OWNER, 0, owned(row.owner, key))
    end
    if row.status then
      redis.call('HSET', BODIES, key, optional(ARGV[at + 7]) or '')
      redis.call('ZADD', ANSWERED, 0, key)
    end
    count(row, size(key))
  end
end
