-- ARGV: user, id, now.
local now = tonumber(ARGV[3])
local row = live(ARGV[2], ARGV[1], now)
if not row then
  return 0
end
row.stepped_up_at = math.max(row.stepped_up_at or 0, now)
save(ARGV[2], row)
return 1
