-- ARGV[2] epoch id, ARGV[3] its watermark (seconds), ARGV[4] salt. Sets them where there are none,
-- or in place of what there is where ARGV[5] is 'replace'.
if ARGV[5] == 'replace' then
  for _, name in ipairs(redis.call('ZRANGE', shards, 0, -1)) do
    redis.call('UNLINK', name)
  end
  redis.call('DEL', meta, shards, forever, buckets)
end
if redis.call('HEXISTS', meta, 'epoch') == 0 then
  redis.call('HSET', meta, 'epoch', ARGV[2], 'watermark', ARGV[3], 'salt', ARGV[4],
    'seq', 0, 'chain', '', 'heartbeat', 0, 'ready', 0, 'format', FORMAT)
  -- A feed without its meta is a torn store; its numbers must not be taken for ours.
  redis.call('DEL', feed)
end
-- A copy that was not taken in one moment may have a feed that went further than its meta; nothing
-- could be appended to it. (XREVRANGE would find its end at once, but is a right that nobody granted.)
if not unusable() then
  local seq = redis.call('HGET', meta, 'seq')
  repeat
    local ahead = redis.call('XRANGE', feed, '(' .. seq .. '-0', '+', 'COUNT', 1000)
    if #ahead > 0 then
      seq = string.match(ahead[#ahead][1], '^%d+')
      redis.call('HSET', meta, 'seq', seq)
    end
  until #ahead == 0
end
-- A replay holds each of its steps against the one before, and begins with the place that this is.
local here = position()
if not unusable() and not holds(here[1], here[2], here[3]) then
  append_watermark()
end
return state()
