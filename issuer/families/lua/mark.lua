-- ARGV[2] sid, ARGV[3] 'ending' or 'ended'. Only ever forward, and never makes a record.
if ARGV[3] == 'live' then
  return 0
end
-- Not ours to write. Whoever knows it finds the end in the journal, before it refreshes.
if is_newer() then
  return 0
end
local status = redis.call('HGET', family, 'status')
if status == 'live' or (status == 'ending' and ARGV[3] == 'ended') then
  redis.call('HSET', family, 'status', ARGV[3])
end
redis.call('ZREM', index, ARGV[2])
return 1
