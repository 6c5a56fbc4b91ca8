-- ARGV[4] field, [5] platform, [6] session id, [7] epoch, [8] record as JSON, [9] most devices (0: any number), [10] id of
-- the call: a record that was written again carries it, so that the call is known if it comes twice. Whom it displaced is
-- not replied the second time; their own renewals find out.
local field, platform, session, epoch = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local all = load()
local older, newer, others = {}, 0, 0
for _, record in ipairs(all) do
  if record.field == field then
    if record.session_id == session and record.epoch == epoch then
      live()
      return { record.renewal == ARGV[10] and 'rewritten' or 'current' }
    end
    if record.epoch > epoch then return { 'displaced', 'replaced' } end
  end
end
local grave = grave_of(field)
if grave and grave.epoch >= epoch then return { 'displaced', grave.kind } end
-- The store came back without it. The newest that the policy admits remain, in whatever order they come back.
local displaced = {}
for _, record in ipairs(all) do
  if record.field == field then
    displaced[#displaced + 1] = record
  elseif record.platform == platform then
    others = others + 1
    if record.epoch < epoch then older[#older + 1] = record else newer = newer + 1 end
  end
end
local places = tonumber(ARGV[9])
if places > 0 then
  if newer >= places then return { 'displaced', 'replaced' } end
  for i = 1, others + 1 - places do displaced[#displaced + 1] = older[i] end
end
bury(displaced, 'replaced')
if epoch > top() then redis.call('HSET', KEYS[3], '!', text(epoch)) end
redis.call('HSET', KEYS[1], field, string.sub(ARGV[8], 1, -2) .. ',"renewal":"' .. ARGV[10] .. '"}')
list(platform, all, field)
live()
return jsons(displaced, 'rewritten')
