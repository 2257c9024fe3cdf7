-- ARGV: the most bytes of bodies (a single one may be larger), and keys. Returns the columns of the first of them, or nothing where there
-- is none.
local found, bytes = {}, 0
for index = 2, #ARGV do
  local key = ARGV[index]
  local row = reply(key)
  bytes = bytes + redis.call('HSTRLEN', BODIES, key)
  if #found > 0 and bytes > tonumber(ARGV[1]) then
    break
  end
  found[#found + 1] = row and {key, row.fingerprint, row.holder, row.claimed_at, row.lease_until, row.status or false,
    row.headers or false, row.status and redis.call('HGET', BODIES, key) or false, row.owner or false, row.network or false}
end
return found
