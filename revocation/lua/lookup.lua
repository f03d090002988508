-- ARGV[2] the salt that the keys were made with. ARGV[3], ARGV[4], ARGV[5] a position that the
-- caller has seen: epoch, seq, chain; '' for none. ARGV[6..] record keys.
-- Returns the epoch's watermark and each record's level, 0 for none. Writes nothing.
local problem = unusable()
if problem then
  return problem
end
if not vouched() then
  return redis.error_reply('NOTREADY')
end
if redis.call('HGET', meta, 'salt') ~= ARGV[2] then
  return redis.error_reply('REPLACED')
end
if not holds(ARGV[3], ARGV[4], ARGV[5]) then
  return redis.error_reply('WENTBACK')
end
local levels = { tonumber(redis.call('HGET', meta, 'watermark')) }
for i = 6, #ARGV do
  local forever_level = tonumber(redis.call('HGET', forever, ARGV[i]) or 0)
  levels[i - 4] = math.max(forever_level, (find(ARGV[i])))
end
return levels
