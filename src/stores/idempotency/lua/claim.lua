-- Takes a key that is new, too old to count (claimed at or before `stale`), or without a reply and either held by the same request (a
-- repeated claim) or past its lease. A new key is not taken where its owner or network has reached its quota.
-- ARGV: key, fingerprint, holder, now, lease_until, stale, owner, network, the quotas of owner and network.
-- Returns {outcome, {status, headers, body}}: 0 ours, 1 running, 2 answered, 3 another body, 4 over quota.
local key, fingerprint, holder = ARGV[1], ARGV[2], ARGV[3]
local now, lease_until, stale = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local owner, network = optional(ARGV[7]), optional(ARGV[8])

local function is_over(who, quota)
  return who and tonumber(redis.call('HGET', BYTES, who) or 0) >= tonumber(quota)
end

local claimed_at = now
local row = reply(key)
if not row then
  if is_over(owner, ARGV[9]) or is_over(network, ARGV[10]) then
    return {4, false}
  end
else
  if row.claimed_at > stale then
    claimed_at = row.claimed_at
    if row.fingerprint ~= fingerprint then
      return {3, false}
    elseif row.status then
      return {2, {row.status, row.headers, redis.call('HGET', BODIES, key) or ''}}
    elseif row.holder ~= holder and row.lease_until > now then
      return {1, false}
    end
  end
  remove(key, row)
end
row = {
  fingerprint = fingerprint,
  holder = holder,
  claimed_at = claimed_at,
  lease_until = lease_until,
  owner = owner,
  network = network,
}
save(key, row)
redis.call('ZADD', BY_CLAIM, claimed_at, key)
if owner then
  redis.call('ZADD', BY_OWNER, 0, owned(owner, key))
end
count(row, ROW_BYTES)
return {0, false}
