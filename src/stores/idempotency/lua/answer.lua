-- ARGV: key, holder, owner, status, headers, body.
local key = ARGV[1]
local row = reply(key)
if not row or row.holder ~= ARGV[2] or row.status then
  return
end
count(row, -ROW_BYTES)
local owner = optional(ARGV[3])
if owner then
  if row.owner then
    redis.call('ZREM', BY_OWNER, owned(row.owner, key))
  end
  redis.call('ZADD', BY_OWNER, 0, owned(owner, key))
  row.owner = owner
end
row.status = tonumber(ARGV[4])
row.headers = ARGV[5]
save(key, row)
redis.call('HSET', BODIES, key, ARGV[6])
redis.call('ZADD', ANSWERED, 0, key)
count(row, ROW_BYTES + #ARGV[6])
