-- ARGV: key, holder.
local row = reply(ARGV[1])
if row and row.holder == ARGV[2] and not row.status then
  remove(ARGV[1], row)
end
