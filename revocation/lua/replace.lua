-- ARGV[2] epoch id, ARGV[3] its watermark (seconds), ARGV[4] salt. Sets them whatever was there.
redis.call('HSET', meta, 'epoch', ARGV[2], 'watermark', ARGV[3], 'salt', ARGV[4],
  'seq', 0, 'chain', '', 'heartbeat', 0, 'ready', 0)
redis.call('DEL', feed, forever)
return redis.call('HMGET', meta, 'epoch', 'seq', 'chain', 'watermark', 'salt', 'ready')
