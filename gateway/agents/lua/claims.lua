-- What an access token must hold (RFC 9068 section 2.2), as `tokens.AccessClaims` reads it.

local MAX_TIME = 9007199254740992
local REFUSED_HEADERS = {
  "crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "epk", "p2c",
}
-- The last character of an unpadded segment, by its length modulo 4: unused bits are zero.
local CANONICAL_LAST = {[0] = "[%w_-]", [2] = "[AQgw]", [3] = "[AEIMQUYcgkosw048]"}

-- Whether a segment is the one spelling of its bytes in base64url (RFC 4648 section 3.5).
local function canonical(segment)
  if segment:find("[^%w_-]") then return false end
  local last = CANONICAL_LAST[#segment % 4]
  return last ~= nil and segment:sub(-1):find(last) ~= nil
end

-- RFC 7518 section 3.4, RFC 8037 section 3.1: 64 bytes, for which HAProxy and Envoy do not look.
local function signature_fits(segment, alg)
  return (alg ~= "ES256" and alg ~= "EdDSA") or #segment == 86
end

local function text(value)
  return type(value) == "string" and value ~= ""
end

local function id(value)
  return type(value) == "string" and #value == 22 and canonical(value)
end

-- LuaJIT has no integers of its own, and Envoy's metadata has none either.
local function integer(value)
  if math.type then return math.type(value) == "integer" end
  return type(value) == "number" and value == math.floor(value)
end

local function number(value)
  return integer(value) and value >= 0 and value <= MAX_TIME
end

local function texts(value)
  if type(value) ~= "table" or value.n == nil then return false end
  for i = 1, value.n do
    if not text(value[i]) then return false end
  end
  return true
end

-- RFC 6749 section 3.3: tokens of visible ASCII without quote and backslash, one space between.
local function scope(value)
  if type(value) ~= "string" then return false end
  return not value:find("[^\x20\x21\x23-\x5b%]\x5e-\x7e]") and not (" " .. value .. " "):find("  ")
    or value == ""
end

-- Whether a parsed JOSE header is that of an access token under this key and algorithm.
local function header_fits(header, kid, alg)
  for _, name in ipairs(REFUSED_HEADERS) do
    if header[name] ~= nil then return false end
  end
  local typ = type(header.typ) == "string" and header.typ:lower()
  return (typ == "at+jwt" or typ == "application/at+jwt")
    and header.alg == alg and header.kid == kid and text(kid)
end

-- The parties that a token is for; nil where the claim is of another form.
local function audiences(aud)
  if text(aud) then return {aud, n = 1} end
  if texts(aud) and aud.n > 0 then return aud end
end

-- Whether a payload is a token for us at `now`, whole seconds.
local function acceptable(payload, settings, now)
  local aud = audiences(payload.aud)
  local formed = text(payload.iss) and text(payload.sub) and text(payload.client_id) and aud
    and number(payload.iat) and number(payload.exp)
    and number(payload.auth_time) and number(payload.sub_ver)
    and id(payload.jti) and id(payload.sid) and scope(payload.scope) and texts(payload.amr)
    and (payload.roles == nil or texts(payload.roles))
    and (payload.acr == nil or text(payload.acr))
  if not formed then return false end
  local ours = false
  for i = 1, aud.n do ours = ours or aud[i] == settings.audience end
  local latest_start = now + settings.leeway
  local lifetime = payload.exp - payload.iat
  local nbf = payload.nbf
  return ours and payload.iss == settings.issuer
    and now < payload.exp + settings.leeway
    and payload.iat <= latest_start and payload.auth_time <= latest_start
    and lifetime > 0 and lifetime <= settings.max_lifetime
    and (nbf == nil or (integer(nbf) and nbf <= latest_start))
end

return {
  canonical = canonical, signature_fits = signature_fits, header_fits = header_fits,
  audiences = audiences, acceptable = acceptable,
}
