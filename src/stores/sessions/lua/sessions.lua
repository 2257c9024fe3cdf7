-- What the scripts of the sessions share. A row of the table is packed by MessagePack: {user, created_at, last_used_at, expires_at,
-- user_agent, address}, with ended_at and stepped_up_at where there are such. Times are milliseconds since the Unix epoch.

-- id -> row
local SESSIONS = KEYS[1]
-- "user:id" of those that have not been ended, in this order (neither contains a colon)
local BY_USER = KEYS[2]
-- id by expires_at
local BY_EXPIRY = KEYS[3]
-- id by ended_at
local ENDED = KEYS[4]

local function session(id)
  local row = redis.call('HGET', SESSIONS, id)
  return row and cmsgpack.unpack(row)
end

local function save(id, row)
  redis.call('HSET', SESSIONS, id, cmsgpack.pack(row))
end

local function live(id, user, now)
  local row = session(id)
  return row and row.user == user and not row.ended_at and row.expires_at > now and row
end

local function finish(id, row, now)
  row.ended_at = now
  save(id, row)
  redis.call('ZREM', BY_USER, row.user .. ':' .. id)
  redis.call('ZADD', ENDED, now, id)
end

local function reply(id, row)
  return {id, row.user, row.created_at, row.last_used_at, row.expires_at, row.user_agent, row.address}
end

