-- Names' identifiers, which are keyed digests; kept, since the same names come again and again.

local MOST = 8192

-- What gives the identifier of a name, as `spelled` writes its 16 bytes.
local function remembered(blake2b, spelled)
  local keyed, digests, kept = {}, {}, 0
  return function(kind, name, salt)
    local start = kind .. salt
    local at = start .. name
    local id = digests[at]
    if not id then
      keyed[start] = keyed[start] or blake2b.keyed(salt, kind)
      id = spelled(blake2b.digest(keyed[start], name))
      if kept >= MOST then digests, kept = {}, 0 end
      digests[at], kept = id, kept + 1
    end
    return id
  end
end

return {remembered = remembered}
