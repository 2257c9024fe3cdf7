-- KEYS: hashes. ARGV: fields, of which the first one is always there. Returns the fields of each, or nothing where there is no such hash.
local found = {}
for index, key in ipairs(KEYS) do
  local row = redis.call('HMGET', key, unpack(ARGV))
  found[index] = row[1] and row
end
return found
