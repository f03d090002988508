-- ARGV[2] the salt that the keys were made with, ARGV[3..] record keys.
-- Returns the epoch's watermark and each record's level, 0 for none.
if redis.call('HEXISTS', meta, 'epoch') == 0 then
  return redis.error_reply('NOEPOCH')
end
if redis.call('HGET', meta, 'ready') ~= '1' then
  return redis.error_reply('NOTREADY')
end
if redis.call('HGET', meta, 'salt') ~= ARGV[2] then
  return redis.error_reply('REPLACED')
end
local levels = { tonumber(redis.call('HGET', meta, 'watermark')) }
for i = 3, #ARGV do
  local forever_level = tonumber(redis.call('HGET', forever, ARGV[i]) or 0)
  levels[i - 1] = math.max(forever_level, (find(ARGV[i])))
end
return levels
