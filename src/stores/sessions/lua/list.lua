-- ARGV: user, now. Returns the live sessions in no order: Lua compares texts as the server's locale does.
local user, now = ARGV[1], tonumber(ARGV[2])
local found = {}
-- A semicolon follows the colon.
for _, member in ipairs(redis.call('ZRANGEBYLEX', BY_USER, '[' .. user .. ':', '(' .. user .. ';')) do
  local id = string.sub(member, #user + 2)
  local row = live(id, user, now)
  if row then
    found[#found + 1] = reply(id, row)
  end
end
return found
