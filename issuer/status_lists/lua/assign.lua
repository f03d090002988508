-- KEYS[1] hash: the list that is being filled, and since when; the lists are KEYS[1]:<id>, each a
-- hash of records by place that expires once its last possible token has.
-- ARGV[1] now (seconds), ARGV[2] id of the next list, ARGV[3] the record, ARGV[4] for how long a
-- list is kept (seconds), ARGV[5] for how long it takes in tokens, ARGV[6] how many it takes.
-- ARGV[7..] places to try. Returns the list and the place.
local base = KEYS[1]
local m = redis.call('HMGET', base, 'id', 'begun')
local id = m[1]
local full = not id
if id then
  local count = redis.call('HLEN', base .. ':' .. id)
  -- A list that has gone is never begun again under its name.
  full = count == 0 or count >= tonumber(ARGV[6])
    or tonumber(ARGV[1]) >= tonumber(m[2]) + tonumber(ARGV[5])
end
if full then
  id = ARGV[2]
  redis.call('HSET', base, 'id', id, 'begun', ARGV[1])
end
local key = base .. ':' .. id
for i = 7, #ARGV do
  if redis.call('HEXISTS', key, ARGV[i]) == 0 then
    redis.call('HSET', key, ARGV[i], ARGV[3])
    if full then
      local ends = redis.call('TIME')[1] + ARGV[4]
      redis.call('PEXPIREAT', key, string.format('%.0f000', ends))
      redis.call('PEXPIREAT', base, string.format('%.0f000', ends))
    end
    return { id, ARGV[i] }
  end
end
return redis.error_reply('NOPLACE')
