-- ARGV: purpose and user of each. Returns the hash of the code and when it expires, or nothing where there is none.
local found = {}
for index = 1, #ARGV, 2 do
  local place = ARGV[index] .. ':' .. ARGV[index + 1]
  local code = redis.call('HGET', CODES, place)
  found[#found + 1] = code and {ARGV[index], ARGV[index + 1], code, redis.call('ZSCORE', EXPIRY, place)}
end
return found
