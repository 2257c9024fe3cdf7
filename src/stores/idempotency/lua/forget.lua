-- ARGV: owner, at most how many. Returns how many were removed.
local prefix = owned(ARGV[1], '')
-- No UTF-8 contains this byte.
local members = redis.call('ZRANGEBYLEX', BY_OWNER, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, ARGV[2])
for _, member in ipairs(members) do
  local key = string.sub(member, #prefix + 1)
  remove(key, reply(key))
end
return #members
