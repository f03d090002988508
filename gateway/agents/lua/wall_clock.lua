-- Notices a wall clock that has been set back, by a clock that nobody sets; both in seconds.

local TOLERANCE = 1

local ahead, reached = nil, 0

-- Whether the wall clock stands before a moment that it had reached already. Until it has caught
-- up, a token could be alive again whose entry is gone.
local function set_back(wall, steady)
  local by = wall - steady
  if ahead and by < ahead - TOLERANCE then
    reached = math.max(reached, steady + ahead)
    ahead = by
  end
  ahead = math.max(ahead or by, by)
  return wall < reached
end

return {set_back = set_back}
