-- ARGV[2] the epoch that was filled, or '' for whichever there is. ARGV[3] the highest seq that
-- anybody has seen, 0 for none: the feed goes on above it, so that seq only ever rises.
-- ARGV[4], ARGV[5], ARGV[6] the position that the replay reached: epoch, seq, chain; '' for none.
local problem = unusable()
if problem then
  return problem
end
if ARGV[2] ~= '' and ARGV[2] ~= redis.call('HGET', meta, 'epoch') then
  return redis.error_reply('REPLACED')
end
if not holds(ARGV[4], ARGV[5], ARGV[6]) then
  return went_back()
end
redis.call('HSET', meta, 'ready', 1, 'primary', primary())
if tonumber(redis.call('HGET', meta, 'seq')) < tonumber(ARGV[3]) then
  redis.call('HSET', meta, 'seq', ARGV[3])
  append_watermark()
end
return position()
