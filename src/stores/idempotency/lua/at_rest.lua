-- ARGV: the key before (empty for none), at most how many rows, and of how many bytes together; a single row may be larger.
-- Returns keys and bodies in turn.
local after = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local rows, bytes = {}, 0
for _, key in ipairs(redis.call('ZRANGEBYLEX', ANSWERED, after, '+', 'LIMIT', 0, ARGV[2])) do
  bytes = bytes + redis.call('HSTRLEN', BODIES, key)
  if #rows > 0 and bytes > tonumber(ARGV[3]) then
    break
  end
  rows[#rows + 1] = key
  rows[#rows + 1] = redis.call('HGET', BODIES, key)
end
return rows
