-- The six rules of rotation.
-- ARGV[2] presented generation, ARGV[3] the account's credential version,
-- ARGV[4] milliseconds since the person was active, -1 if not since the last refresh,
-- ARGV[5] reuse_interval, ARGV[6] retry_window (milliseconds), -1 for as long as the family lives.
-- ARGV[7], ARGV[8] a draft: id ('' for none), text.
-- Returns the outcome's name and the record.
local g = tonumber(ARGV[2])
local active_ago = tonumber(ARGV[4])
local reuse_interval = tonumber(ARGV[5])
local retry_window = tonumber(ARGV[6])

local function answer(outcome)
  return { outcome, redis.call('HGETALL', family) }
end

local function current(outcome)
  -- Activity only moves forward; what the client says cannot reach into the future.
  if active_ago >= 0 then
    local active = tonumber(redis.call('HGET', family, 'active'))
    redis.call('HSET', family, 'active', text(math.max(active, now - active_ago)))
  end
  redis.call('HSET', family, 'refreshed', text(now))
  note(ARGV[7], outcome, ARGV[8])
  -- Read before it expires: its end may pass meanwhile, which takes the record at once.
  local told = answer(outcome)
  expire_at_its_end()
  return told
end

local function ending(outcome)
  redis.call('HSET', family, 'status', 'ending')
  note(ARGV[7], outcome, ARGV[8])
  redis.call('ZREM', index, redis.call('HGET', family, 'sid'))
  return answer(outcome)
end

local r = redis.call('HMGET', family, 'status', 'gen', 'started', 'handed', 'confirmed',
  'late_seen', 'late_streak', 'version')
local status = r[1]

-- Rule 6: unknown, ended, past its end, or of an older credential version.
if not status then
  return { 'unknown', {} }
end
if is_newer() then
  return answer('newer')
end
if status ~= 'live' then
  return answer('ended')
end
if now >= absolute_end() then
  return answer('absolute')
end
if now >= idle_end() then
  return answer('idle')
end
if r[8] ~= ARGV[3] then
  return answer('version')
end

local gen, started, handed = tonumber(r[2]), tonumber(r[3]), tonumber(r[4])
local confirmed, late_seen, late_streak = r[5] == '1', r[6] == '1', tonumber(r[7])
local just_handed = now - handed < reuse_interval

-- Rule 1: the current generation itself.
if g == gen then
  if just_handed then
    redis.call('HSET', family, 'confirmed', 1)
    return current('repeated')
  end
  if not late_seen then
    late_streak = 0
  end
  redis.call('HSET', family, 'gen', text(gen + 1), 'started', text(now), 'handed', text(now),
    'confirmed', 0, 'late_seen', 0, 'late_streak', text(late_streak))
  return current('rotated')
end

-- Rule 5: the store has not seen this generation: it went back in time.
if g > gen then
  return ending('rolled_back')
end

if g == gen - 1 then
  -- Rule 2: another tab, or a resend.
  if just_handed then
    -- The answers before may all have been lost, and tabs still be on their way with the parent.
    if not confirmed then
      redis.call('HSET', family, 'handed', text(now))
    end
    return current('resent')
  end
  -- Rule 3: the answer was lost. One late retry in each of four generations in a row is a thief
  -- who follows one generation behind; further retries of one generation are free.
  local in_window = retry_window < 0 or now - started < retry_window
  if not confirmed and in_window and (late_seen or late_streak < 3) then
    if not late_seen then
      redis.call('HSET', family, 'late_seen', 1, 'late_streak', text(late_streak + 1))
    end
    redis.call('HSET', family, 'handed', text(now))
    return current('retried_late')
  end
end

-- Rule 4: a spent token.
return ending('reuse')
