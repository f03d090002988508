-- The part of Gatepass that runs inside Envoy, behind `jwt_authn`, in each of its workers.
--
-- A route's metadata may say `open: true`, or `scope` for what a token must have.

local bit = require("bit")

local REOPEN = 0.25
local ALGORITHMS = {ES256 = true, RS256 = true, PS256 = true, EdDSA = true}
local MAX_TOKEN, MAX_HEADER = 8192, 1024
-- Seconds by which an entry outlives its tokens.
local OUTLIVED_BY = 60

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local VALUES = {}
for i = 1, 64 do VALUES[ALPHABET:byte(i)] = i - 1 end

-- The 16 bytes of an identifier, which has been seen to be canonical base64url.
local function decoded(id)
  local octets, held, bits = {}, 0, 0
  for i = 1, #id do
    held, bits = bit.bor(bit.lshift(bit.band(held, 255), 6), VALUES[id:byte(i)]), bits + 6
    if bits >= 8 then
      bits = bits - 8
      octets[#octets + 1] = string.char(bit.band(bit.rshift(held, bits), 255))
    end
  end
  return table.concat(octets)
end

local function as_it_is(raw) return raw end

local replica = nil
local next_open = 0
local id_of = digests.remembered(blake2b, as_it_is)

local copy = {
  id_level = function(kind, id) return packed.level_of(replica, kind, decoded(id)) end,
  name_level = function(kind, name, salt)
    return packed.level_of(replica, kind, id_of(kind, name, salt))
  end,
}

local function open_again(now)
  if now >= next_open then
    next_open = now + REOPEN
    replica = packed.open(settings.replica) or replica
  end
end

-- Whether the copy can be looked into, and whether it may be gone by.
local function look(now)
  if not replica or packed.superseded(replica) then open_again(now) end
  if not replica then return false, false end
  -- Before the header: that is at least as new as this.
  local fresh_at = packed.fresh_at(replica)
  local age = fresh_at and now - fresh_at
  local trusted = age and age > -1 and age + settings.heartbeat_interval <= settings.max_staleness
  if not trusted then open_again(now) end
  if not packed.read_header(replica) then return false, false end
  if copy.salts ~= replica.salts then id_of = digests.remembered(blake2b, as_it_is) end
  copy.salts, copy.watermark = replica.salts, replica.watermark
  return #copy.salts > 0, trusted
end

-- Lists of Envoy's metadata know no length of their own.
local function list(value)
  if type(value) == "table" and (#value > 0 or next(value) == nil) then value.n = #value end
  return value
end

-- The one bearer token of a request; nil where there is none, false where that is no clear answer.
local function bearer(headers)
  local given = headers:get("authorization")
  if not given then return nil end
  if headers:getNumValues("authorization") ~= 1 then return false end
  local scheme, token = given:match("^(%a+) +([%w._-]+)$")
  if scheme and scheme:lower() == "bearer" then return token end
  if given:lower():find("^bearer +[^ ]") then return false end
end

local function segments_fit(token, alg)
  local header, payload, signature = token:match("^([^.]+)%.([^.]+)%.([^.]+)$")
  return header and #token <= MAX_TOKEN and #header <= MAX_HEADER
    and claims.canonical(header) and claims.canonical(payload) and claims.canonical(signature)
    and claims.signature_fits(signature, alg)
end

-- The claims of a token that `jwt_authn` has verified, and the key's id; nil where it has not.
local function valid_claims(handle, token, wall)
  local verified = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local payload = verified and verified["gatepass_payload"]
  local header = verified and verified["gatepass_header"]
  if not payload or not header or not segments_fit(token, header.alg) then return nil end
  if not ALGORITHMS[header.alg] or not claims.header_fits(header, header.kid, header.alg) then
    return nil
  end
  list(payload.aud)
  list(payload.amr)
  list(payload.roles)
  if claims.acceptable(payload, settings, math.floor(wall)) then return payload, header.kid end
end

local function strip(headers)
  local names = {}
  for name in pairs(headers) do
    if name:lower():gsub("_", "-"):find("^x%-gatepass%-") then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do headers:remove(name) end
end

local function answer(handle, status, name, value)
  handle:respond({[":status"] = status, [name] = value, ["cache-control"] = "no-store"}, "")
end

local function decide(handle, headers, route)
  local token = bearer(headers)
  if token == nil then return answer(handle, "401", "www-authenticate", "Bearer") end
  local wall, now = packed.wall_clock(), packed.boot_clock()
  local found, kid
  if token then found, kid = valid_claims(handle, token, wall) end
  local known, trusted = look(now)
  local swept = known and packed.swept(replica)
  if not found
    or (known and denylist.refusal(found, claims.audiences(found.aud), kid, copy)) then
    return answer(handle, "401", "www-authenticate", 'Bearer error="invalid_token"')
  end
  -- By a clock that was put back a token may be alive again whose entry is gone. Asked before the
  -- look-up as well, since it falls once all is known again.
  local gone = known and found.exp + OUTLIVED_BY <= math.max(swept, packed.swept(replica))
  if not known or not trusted or gone then return answer(handle, "503", "retry-after", "1") end
  if route.scope and not (" " .. found.scope .. " "):find(" " .. route.scope .. " ", 1, true) then
    local why = ('Bearer error="insufficient_scope", scope="%s"'):format(route.scope)
    return answer(handle, "403", "www-authenticate", why)
  end
  for _, header in ipairs(identity.headers(found)) do headers:replace(header[1], header[2]) end
end

function envoy_on_request(handle)
  -- Envoy lets a request pass whose filter fails, so that a failure has to be an answer.
  local headers, route = handle:headers(), {}
  local fine, what = pcall(function()
    strip(headers)
    local given = handle:metadata()
    route = {open = given:get("open"), scope = given:get("scope")}
  end)
  if fine and route.open == true then return end
  if fine then fine, what = pcall(decide, handle, headers, route) end
  if not fine then
    handle:logErr("gatepass: " .. tostring(what))
    answer(handle, "503", "retry-after", "1")
  end
end
