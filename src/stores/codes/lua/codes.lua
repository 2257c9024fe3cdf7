-- What the scripts of the one-time codes share.

-- "purpose:user" -> the hash of the code
local CODES = KEYS[1]
-- the hash of a code -> "purpose:user"
local HOLDERS = KEYS[2]
-- "purpose:user" by when the code expires, in milliseconds since the Unix epoch
local EXPIRY = KEYS[3]

local function remove(place)
  local code = redis.call('HGET', CODES, place)
  if code then
    redis.call('HDEL', HOLDERS, code)
  end
  redis.call('HDEL', CODES, place)
  redis.call('ZREM', EXPIRY, place)
end

-- The place of a code that can be redeemed.
local function holder(purpose, code, now)
  local place = redis.call('HGET', HOLDERS, code)
  if place and string.sub(place, 1, #purpose + 1) == purpose .. ':'
      and tonumber(redis.call('ZSCORE', EXPIRY, place)) > now then
    return place
  end
  return false
end

