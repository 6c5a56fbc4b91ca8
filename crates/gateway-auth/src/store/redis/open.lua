-- ARGV[2] token, [3] family, [4] subject, [5] device, [6] platform, [7] expiry, [8] end of the access token,
-- [9] most families. Replies how many had to go.
-- A login that was carried out before, and whose reply was lost. How many had to go is a number for the metrics.
if family_of(ARGV[3]) then return 0 end
local all, dropped = load(), 0
while #all >= tonumber(ARGV[9]) do
  local oldest = table.remove(all, 1)
  finish(oldest.id, oldest)
  dropped = dropped + 1
end
local opened = 1
if #all > 0 then opened = all[#all].opened + 1 end
local family = {
  subject = ARGV[4], device = ARGV[5], platform = ARGV[6], current = ARGV[2], previous = '', spent_at = 0, spent = '',
  access_until = tonumber(ARGV[8]), expires_at = tonumber(ARGV[7]), opened = opened,
}
put_family(ARGV[3], family)
put_token(ARGV[2], ARGV[3], family, 'live', family.expires_at)
settle()
return dropped
