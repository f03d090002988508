-- ARGV[2] records, 33 bytes each: key (17), level (8), expires (8), big endian.
-- Merges each by maximum and appends those that changed something to the feed, as they now stand.
-- ARGV[3] the expiry of an entry that stays for good. ARGV[4] the salt that the keys were made with.
-- ARGV[5], ARGV[6], ARGV[7] a position that the caller has seen: epoch, seq, chain; '' for none.
-- ARGV[8], ARGV[9], ARGV[10] another one.
-- ARGV[11] how late it may be here, by the clock that the caller reckons expiries by (milliseconds).
local problem = unusable()
if problem then
  return problem
end
if not (holds(ARGV[5], ARGV[6], ARGV[7]) and holds(ARGV[8], ARGV[9], ARGV[10])) then
  return went_back()
end
if redis.call('HGET', meta, 'salt') ~= ARGV[4] then
  return redis.error_reply('REPLACED')
end
if later_than(ARGV[11]) then
  return is_ahead()
end
local never = tonumber(ARGV[3])
local changed = {}

local function announce(key, level, expires)
  changed[#changed + 1] = struct.pack('>c17I8I8', key, level, expires)
end

for at = 1, #ARGV[2], 33 do
  local key, level, expires = struct.unpack('>c17I8I8', string.sub(ARGV[2], at, at + 32))
  if string.sub(key, 1, 1) == 'e' then
    if level > tonumber(redis.call('HGET', meta, 'watermark')) then
      redis.call('HSET', meta, 'watermark', string.format('%.0f', level))
      announce(key, level, expires)
    end
  elseif expires * 1000 > now then
    local kept = tonumber(redis.call('HGET', forever, key) or -1)
    local old_level, old_bucket = find(key)
    if expires >= never or kept >= 0 then
      -- What stays for good takes in every timed level, or it would be lower once that expires.
      level = math.max(level, old_level)
      if level > kept then
        redis.call('HSET', forever, key, string.format('%.0f', level))
        announce(key, level, never)
      end
    else
      local bucket = bucket_of(expires)
      if level > old_level or bucket > old_bucket then
        bucket, level = math.max(bucket, old_bucket), math.max(level, old_level)
        store(bucket, key, string.format('%.0f', level))
        -- Announced until the bucket's end: a later entry of the same bucket changes nothing here,
        -- so a replica that went by the first one's expiry would let go too early.
        announce(key, level, bucket * WIDTH)
      end
    end
  end
end
if #changed > 0 then
  append(table.concat(changed))
end
return position()
