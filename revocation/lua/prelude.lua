-- Shared by every script of the denylist.
-- KEYS[1] meta      hash: epoch, watermark, salt, seq, chain, heartbeat, ahead, ready,
--                     primary, format
-- KEYS[2] feed      stream: ids are <seq>-0; fields r (records), c (chain), t (milliseconds)
-- KEYS[3] shards    sorted set: names of live shards by the end of their bucket (seconds)
-- KEYS[4] forever   hash: records without expiry
-- KEYS[5] buckets   sorted set: numbers of live buckets by their end (seconds)
-- ARGV[1] the time in milliseconds, or '' for the server's own
-- A record of expiry E lives in bucket ceil(E / WIDTH), in one of SHARDS small hashes of it, which
-- Redis packs (listpack) and which expire as a whole. What expires more than FAR seconds from now
-- goes into the next bucket whose number is a multiple of COARSE: a search visits every bucket, and
-- with access tokens of an hour there would be many, each with too little in it to pack well.
local WIDTH = 60
local SHARDS = 2048
local FAR = 600
local COARSE = 5
-- Of the records, the feed and this hash. Raised only where a program that knows the one before
-- would read them wrongly.
local FORMAT = 1

local meta, feed, shards, forever, buckets = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Whether it is later here than it may be by a caller's clock ('' where he does not say). Then what
-- he reckons would be over here before the tokens that it is meant for.
local function later_than(latest)
  local said = tonumber(latest or '')
  return said ~= nil and now > said
end

-- Either this clock or the caller's is wrong. If it is this one, it is noticed once it is put back;
-- if it is his, others go on.
local function is_ahead()
  redis.call('HSET', meta, 'ahead', string.format('%.0f', now))
  return redis.error_reply('AHEAD')
end

-- The replication id of the primary: another one after a failover, a restart or a restore.
local function primary()
  local info = redis.call('INFO', 'replication')
  return string.match(info, 'master_replid:(%x+)') or ''
end

-- Why nothing can be done with this denylist, or nil.
local function unusable()
  local m = redis.call('HMGET', meta, 'epoch', 'format')
  if not m[1] then
    return redis.error_reply('NOEPOCH')
  end
  if tonumber(m[2] or FORMAT) > FORMAT then
    return redis.error_reply('NEWERFORMAT')
  end
end

-- Whether the journal has been replayed into it on this very primary: a promoted laggard and an
-- older file carry the mark of another one. (Where there is no mark, only 0.1.0 has filled it yet.)
local function vouched()
  local m = redis.call('HMGET', meta, 'ready', 'primary')
  return m[1] == '1' and (not m[2] or m[2] == primary())
end

-- Whether the feed's history holds a position that somebody has seen; '' as epoch asks for none.
local function holds(epoch, seq, chain)
  if epoch == '' then
    return true
  end
  if epoch ~= redis.call('HGET', meta, 'epoch') then
    return false
  end
  if seq == '0' then
    return true
  end
  local item = redis.call('XRANGE', feed, seq .. '-0', seq .. '-0')[1]
  return item ~= nil and item[2][4] == chain
end

-- Says that it came back from the past, and keeps everybody from trusting it until it is filled.
local function went_back()
  redis.call('HSET', meta, 'ready', 0)
  return redis.error_reply('WENTBACK')
end

local function shard_name(bucket, key)
  local high, low = string.byte(key, 2, 3)
  return meta .. ':' .. bucket .. ':' .. ((high * 256 + low) % SHARDS)
end

-- The highest level and the latest bucket of a record, over the buckets that still live. Only
-- buckets that hold something are visited: one entry far ahead must not make every search long.
local live = nil
local function find(key)
  local level, bucket = 0, 0
  live = live or redis.call(
    'ZRANGEBYSCORE', buckets, '(' .. string.format('%.0f', math.floor(now / 1000)), '+inf')
  for _, b in ipairs(live) do
    local found = redis.call('HGET', shard_name(b, key), key)
    if found then
      level = math.max(level, tonumber(found))
      bucket = tonumber(b)
    end
  end
  return level, bucket
end

-- The bucket of what expires then.
local function bucket_of(expires)
  local bucket = math.ceil(expires / WIDTH)
  if expires - now / 1000 > FAR then
    bucket = math.ceil(bucket / COARSE) * COARSE
  end
  return bucket
end

-- Puts a record into its bucket, which lives until its end.
local function store(bucket, key, level)
  local number, ends = string.format('%.0f', bucket), string.format('%.0f', bucket * WIDTH)
  local name = shard_name(number, key)
  if redis.call('HSET', name, key, level) == 1 and redis.call('HLEN', name) == 1 then
    redis.call('PEXPIREAT', name, ends .. '000')
    redis.call('ZADD', shards, ends, name)
    if redis.call('ZADD', buckets, ends, number) == 1 then
      live = nil
    end
  end
end

local function append(records)
  local seq = redis.call('HINCRBY', meta, 'seq', 1)
  local chain = redis.call('HGET', meta, 'chain')
  chain = redis.sha1hex(chain .. ':' .. string.format('%.0f', seq) .. ':' .. records)
  redis.call('HSET', meta, 'chain', chain)
  redis.call('XADD', feed, string.format('%.0f', seq) .. '-0',
    'r', records, 'c', chain, 't', string.format('%.0f', now))
end

-- The watermark as it stands, which changes nothing. Not an empty item: that is a heartbeat, and
-- would vouch for what nobody has held against the acknowledged position.
local function append_watermark()
  local watermark = tonumber(redis.call('HGET', meta, 'watermark'))
  append(struct.pack('>c17I8I8', 'e' .. string.rep('\0', 16), watermark, watermark))
end

local function position()
  return redis.call('HMGET', meta, 'epoch', 'seq', 'chain')
end

local function state()
  local fields = redis.call('HMGET', meta, 'epoch', 'seq', 'chain', 'watermark', 'salt')
  fields[6] = vouched() and 1 or 0
  return fields
end
