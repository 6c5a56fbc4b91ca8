-- ARGV[2] family. Replies until when its access tokens live, 0 where it is not known.
local family = family_of(ARGV[2])
if not family then return '0' end
finish(ARGV[2], family)
settle()
return string.format('%.0f', family.access_until)
