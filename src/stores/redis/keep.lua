-- The longest that anything is kept, in milliseconds: ten years.
local LONGEST = 315360000000

-- The server removes `key` some time after `at`, in milliseconds since the Unix epoch.
local function keep(key, at)
  local now = redis.call('TIME')[1] * 1000
  local until_then = math.min(math.max(at, now) + SLACK, now + LONGEST)
  redis.call('PEXPIREAT', key, string.format('%.0f', until_then))
end

