-- KEYS: networks. Returns when each expires, or nothing where there is none.
local found = {}
for index, expires_at in ipairs(redis.call('MGET', unpack(KEYS))) do
  found[index] = expires_at and {expires_at}
end
return found
