-- ARGV[2] epoch id, ARGV[3] its watermark (seconds), ARGV[4] salt. Sets them where there are none.
if redis.call('HEXISTS', meta, 'epoch') == 0 then
  redis.call('HSET', meta, 'epoch', ARGV[2], 'watermark', ARGV[3], 'salt', ARGV[4],
    'seq', 0, 'chain', '', 'heartbeat', 0, 'ready', 0)
  -- A feed without its meta is a torn store; its numbers must not be taken for ours.
  redis.call('DEL', feed)
end
return redis.call('HMGET', meta, 'epoch', 'seq', 'chain', 'watermark', 'salt', 'ready')
