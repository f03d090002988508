-- Shared by every script on families.
-- KEYS[1] the family   hash, see create.lua; its names are short because there are many
-- KEYS[2] the index    sorted set of the subject's sids by absolute end (milliseconds)
-- KEYS[3] the drafts   hash: by id, an outcome and what is to be written down elsewhere
-- ARGV[1] the time in milliseconds, or '' for the server's own
local family, index, drafts = KEYS[1], KEYS[2], KEYS[3]

-- The record's field `v` is the format that a program must know to work with it; a record without
-- one is 0.1.0's, and of format 1. Fields of any other name are kept as they are.
local FORMAT = 1

local function is_newer()
  local v = redis.call('HGET', family, 'v')
  return v and (not string.match(v, '^%d+$') or tonumber(v) > FORMAT)
end

local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

-- With the change that it tells of, so that neither is there without the other.
local function note(id, outcome, draft)
  if id ~= '' then
    redis.call('HSET', drafts, id, outcome .. '\n' .. draft)
  end
end

local function idle_end()
  local idle = tonumber(redis.call('HGET', family, 'idle'))
  if idle < 0 then
    return math.huge
  end
  return tonumber(redis.call('HGET', family, 'active')) + idle
end

local function absolute_end()
  return tonumber(redis.call('HGET', family, 'absolute'))
end

local function expire_at_its_end()
  redis.call('PEXPIREAT', family, text(math.min(idle_end(), absolute_end())))
end
