-- KEYS: hashes. ARGV: the number of fields, the place of the one that says when it expires, their names, and the fields of each hash,
-- with "=" before those that are there.
local fields, expiry = tonumber(ARGV[1]), tonumber(ARGV[2])
for index, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 0 then
    local at = 2 + fields * index
    for field = 1, fields do
      local value = ARGV[at + field]
      if value ~= '' then
        redis.call('HSET', key, ARGV[2 + field], string.sub(value, 2))
      end
    end
    keep(key, tonumber(string.sub(ARGV[at + expiry], 2)))
  end
end
