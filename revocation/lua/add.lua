-- ARGV[2] records, 33 bytes each: key (17), level (8), expires (8), big endian.
-- Merges each by maximum and appends those that changed something to the feed.
-- ARGV[3] the expiry of an entry that stays for good.
if redis.call('HEXISTS', meta, 'epoch') == 0 then
  return redis.error_reply('NOEPOCH')
end
local never = tonumber(ARGV[3])
local changed = {}
for at = 1, #ARGV[2], 33 do
  local record = string.sub(ARGV[2], at, at + 32)
  local key, level, expires = struct.unpack('>c17I8I8', record)
  local kind = string.sub(key, 1, 1)
  if kind == 'e' then
    if level > tonumber(redis.call('HGET', meta, 'watermark')) then
      redis.call('HSET', meta, 'watermark', string.format('%.0f', level))
      changed[#changed + 1] = record
    end
  elseif expires >= never then
    if level > tonumber(redis.call('HGET', forever, key) or 0) then
      redis.call('HSET', forever, key, string.format('%.0f', level))
      changed[#changed + 1] = record
    end
  elseif expires * 1000 > now then
    local bucket = math.ceil(expires / WIDTH)
    local old_level, old_bucket = find(key)
    if level > old_level or bucket > old_bucket then
      bucket = math.max(bucket, old_bucket)
      local name = shard_name(bucket, key)
      if redis.call('HSET', name, key, string.format('%.0f', math.max(level, old_level))) == 1
        and redis.call('HLEN', name) == 1 then
        redis.call('PEXPIREAT', name, string.format('%.0f', bucket * WIDTH * 1000))
        redis.call('ZADD', shards, string.format('%.0f', bucket * WIDTH), name)
      end
      if bucket > tonumber(redis.call('HGET', meta, 'max_bucket')) then
        redis.call('HSET', meta, 'max_bucket', string.format('%.0f', bucket))
      end
      changed[#changed + 1] = record
    end
  end
end
if #changed > 0 then
  append(table.concat(changed))
end
return position()
