-- ARGV[2] the epoch that was filled, or '' for whichever there is.
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return redis.error_reply('NOEPOCH')
end
if ARGV[2] ~= '' and ARGV[2] ~= epoch then
  return redis.error_reply('REPLACED')
end
redis.call('HSET', meta, 'ready', 1)
return position()
