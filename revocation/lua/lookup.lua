-- ARGV[2..] record keys. Returns the epoch's watermark and each record's level, 0 for none.
if redis.call('HEXISTS', meta, 'epoch') == 0 then
  return redis.error_reply('NOEPOCH')
end
if redis.call('HGET', meta, 'ready') ~= '1' then
  return redis.error_reply('NOTREADY')
end
local levels = { tonumber(redis.call('HGET', meta, 'watermark')) }
for i = 2, #ARGV do
  local forever_level = tonumber(redis.call('HGET', forever, ARGV[i]) or 0)
  levels[i] = math.max(forever_level, (find(ARGV[i])))
end
return levels
