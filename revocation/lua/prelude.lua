-- Shared by every script of the denylist.
-- KEYS[1] meta      hash: epoch, watermark, salt, seq, chain, heartbeat, ready
-- KEYS[2] feed      stream: ids are <seq>-0; fields r (records), c (chain), t (milliseconds)
-- KEYS[3] shards    sorted set: names of live shards by the end of their bucket (seconds)
-- KEYS[4] forever   hash: records without expiry
-- KEYS[5] buckets   sorted set: numbers of live buckets by their end (seconds)
-- ARGV[1] the time in milliseconds, or '' for the server's own
-- A record of expiry E lives in bucket ceil(E / WIDTH), in one of SHARDS small hashes of it, which
-- Redis packs (listpack) and which expire as a whole.
local WIDTH = 60
local SHARDS = 2048

local meta, feed, shards, forever, buckets = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
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

local function position()
  return redis.call('HMGET', meta, 'epoch', 'seq', 'chain')
end
