-- ARGV[2] sid, ARGV[3], ARGV[4] a draft: id ('' for none), text,
-- ARGV[5..] field, value pairs: what the login fixes (see Redis family store).
if redis.call('EXISTS', family) == 1 then
  return redis.call('HGETALL', family)
end
redis.call('HSET', family, unpack(ARGV, 5))
redis.call('HSET', family,
  'v', FORMAT, 'gen', 1, 'started', text(now), 'handed', text(now), 'confirmed', 0,
  'late_seen', 0, 'late_streak', 0, 'status', 'live',
  'active', text(now), 'refreshed', text(now))
note(ARGV[3], 'created', ARGV[4])
redis.call('ZADD', index, text(absolute_end()), ARGV[2])
redis.call('ZREMRANGEBYSCORE', index, '-inf', text(now))
local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
-- Read before it expires: an end that has passed already takes the record, and its place in the
-- index, at once.
local created = redis.call('HGETALL', family)
if last[2] then
  redis.call('PEXPIREAT', index, text(tonumber(last[2])))
end
expire_at_its_end()
return created
