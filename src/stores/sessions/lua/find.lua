-- ARGV: user, id, now.
local row = live(ARGV[2], ARGV[1], tonumber(ARGV[3]))
return row and reply(ARGV[2], row)
