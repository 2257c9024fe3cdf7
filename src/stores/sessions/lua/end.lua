-- ARGV: user, now, and the ids. Returns how many were live.
local now, ended = tonumber(ARGV[2]), 0
for index = 3, #ARGV do
  local row = live(ARGV[index], ARGV[1], now)
  if row then
    finish(ARGV[index], row, now)
    ended = ended + 1
  end
end
return ended
