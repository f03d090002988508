-- Takes an elevation off: 1 for the one call that did.
if is_newer() then
  return 0
end
local raised = redis.call('HGET', family, 'raised')
if not raised or raised == '0' then
  return 0
end
redis.call('HSET', family, 'raised', 0)
return 1
