-- KEYS: networks. ARGV: when each expires.
for index, key in ipairs(KEYS) do
  if redis.call('SETNX', key, ARGV[index]) == 1 then
    keep(key, tonumber(ARGV[index]))
  end
end
