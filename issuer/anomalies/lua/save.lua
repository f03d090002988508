-- Write records, each with its end: none is ever without one.
-- KEYS the records, of one slot; ARGV for each its text and its seconds.
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, 'record', ARGV[2 * i - 1])
  redis.call('EXPIRE', key, ARGV[2 * i])
end
