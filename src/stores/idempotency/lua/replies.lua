-- What the scripts of the kept replies share. A row of the table is packed by MessagePack: {fingerprint, holder, claimed_at,
-- lease_until}, with owner and network where there are such, and with status and headers once it is answered. Times are milliseconds
-- since the Unix epoch. ROW_BYTES is what a row counts beside its body.

-- key -> row
local REPLIES = KEYS[1]
-- key -> body, of those that are answered
local BODIES = KEYS[2]
-- key by claimed_at
local BY_CLAIM = KEYS[3]
-- the length of an owner, the owner, and a key of theirs
local BY_OWNER = KEYS[4]
-- key of those that are answered, bytewise
local ANSWERED = KEYS[5]
-- owner or network -> the bytes that are kept for it
local BYTES = KEYS[6]

-- A text that may be absent begins with "=" where it is there.
local function optional(text)
  return text ~= '' and string.sub(text, 2) or nil
end

local function reply(key)
  local row = redis.call('HGET', REPLIES, key)
  return row and cmsgpack.unpack(row)
end

local function save(key, row)
  redis.call('HSET', REPLIES, key, cmsgpack.pack(row))
end

local function owned(owner, key)
  return #owner .. ':' .. owner .. key
end

local function count_for(who, bytes)
  if who and redis.call('HINCRBY', BYTES, who, bytes) <= 0 then
    redis.call('HDEL', BYTES, who)
  end
end

local function count(row, bytes)
  count_for(row.owner, bytes)
  count_for(row.network, bytes)
end

local function size(key)
  return ROW_BYTES + redis.call('HSTRLEN', BODIES, key)
end

local function remove(key, row)
  count(row, -size(key))
  redis.call('HDEL', REPLIES, key)
  redis.call('HDEL', BODIES, key)
  redis.call('ZREM', BY_CLAIM, key)
  redis.call('ZREM', ANSWERED, key)
  if row.owner then
    redis.call('ZREM', BY_OWNER, owned(row.owner, key))
  end
end

