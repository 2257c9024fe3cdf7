-- ARGV: key, the body as it was read, and its successor, for each row. Returns whether each was replaced.
local replaced = {}
for index = 1, #ARGV, 3 do
  local key, read, body = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local same = redis.call('HGET', BODIES, key) == read
  if same then
    redis.call('HSET', BODIES, key, body)
    count(reply(key), #body - #read)
  end
  replaced[#replaced + 1] = same and 1 or 0
end
return replaced
