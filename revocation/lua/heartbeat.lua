-- ARGV[2] interval, ARGV[3] the feed's window (milliseconds), ARGV[4] its cap (items).
-- ARGV[5], ARGV[6], ARGV[7] a position that the caller has seen: epoch, seq, chain; '' for none.
-- ARGV[8] the time here before the caller read that position (milliseconds); '' where he read none.
-- ARGV[9] how late it may be here, by the caller's clock (milliseconds).
-- Writes a heartbeat if the last one is older, and trims what is past its time.
-- Milliseconds; less is within what entries outlive their tokens by.
local PUT_BACK = 1000
-- For how long what the caller read counts, where the interval is shorter. Milliseconds.
local LATE = 1000
local problem = unusable()
if problem then
  return problem
end
if not vouched() then
  return redis.error_reply('NOTREADY')
end
-- Looked at before the heartbeat is written: a replica must not trust a store that came back from
-- the past, which carries the same epoch and may have gone further since.
if not holds(ARGV[5], ARGV[6], ARGV[7]) then
  return went_back()
end
local last = tonumber(redis.call('HGET', meta, 'heartbeat'))
-- A clock that was ahead, and is put back, has let entries expire that others still rely on.
if now < math.max(last, tonumber(redis.call('HGET', meta, 'ahead') or 0)) - PUT_BACK then
  redis.call('HSET', meta, 'heartbeat', 0, 'ahead', 0)
  return went_back()
end
if later_than(ARGV[9]) then
  return is_ahead()
end
-- A clock that was put back must not silence the heartbeat.
if now - last >= tonumber(ARGV[2]) or now < last then
  -- Whoever stood still since he read the position does not know what was acknowledged meanwhile,
  -- and so not what this store lacks, if an older copy took its place. Within an interval that does
  -- no harm: replicas count one on top of their age.
  local asked = tonumber(ARGV[8])
  if asked and (now < asked or now - asked > math.max(tonumber(ARGV[2]), LATE)) then
    return redis.error_reply('LATE')
  end
  redis.call('HSET', meta, 'heartbeat', string.format('%.0f', now))
  append('')
  local oldest = redis.call('XRANGE', feed, '-', '+', 'COUNT', 256)
  local keep_from = nil
  for _, item in ipairs(oldest) do
    local sent = tonumber(item[2][6])
    if sent < now - tonumber(ARGV[3]) then
      keep_from = tonumber(string.match(item[1], '^%d+')) + 1
    end
  end
  -- What somebody has acknowledged stays: others hold this store against it. So does what was
  -- acknowledged before that: an issuer that was stopped may be on its way here with it.
  if ARGV[5] ~= '' then
    local known = tonumber(ARGV[6])
    local m = redis.call('HMGET', meta, 'acknowledged', 'before')
    local acknowledged, before = tonumber(m[1] or known), tonumber(m[2] or known)
    if known > acknowledged then
      acknowledged, before = known, acknowledged
    end
    redis.call('HSET', meta, 'acknowledged', string.format('%.0f', acknowledged),
      'before', string.format('%.0f', before))
    if keep_from then
      keep_from = math.min(keep_from, known, before)
    end
  end
  if keep_from then
    redis.call('XTRIM', feed, 'MINID', string.format('%.0f', keep_from) .. '-0')
  end
  redis.call('XTRIM', feed, 'MAXLEN', '~', ARGV[4])
  local passed = string.format('%.0f', math.floor(now / 1000))
  redis.call('ZREMRANGEBYSCORE', shards, '-inf', passed)
  redis.call('ZREMRANGEBYSCORE', buckets, '-inf', passed)
end
return position()
