-- ARGV: ids. Returns the columns of each, or nothing where there is none.
local found = {}
for index, id in ipairs(ARGV) do
  local row = session(id)
  found[index] = row and {id, row.user, row.created_at, row.last_used_at, row.expires_at, row.user_agent, row.address,
    row.ended_at or false, row.stepped_up_at or false}
end
return found
