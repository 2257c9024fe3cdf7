-- ARGV: purpose, the hash of the code, now, 1 to redeem it and 0 to look. Returns the user.
local place = holder(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not place then
  return false
end
if ARGV[4] == '1' then
  remove(place)
end
return string.sub(place, #ARGV[1] + 2)
