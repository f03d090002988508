-- What a backend is told about the caller, as gateway/identity.py writes it.

-- Visible ASCII stands for itself, but for the percent sign and the comma.
local function encoded(value)
  return (value:gsub("[^\x21-\x24\x26-\x2b\x2d-\x7e]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end

local function list(values)
  local parts = {}
  for i = 1, values and (values.n or #values) or 0 do parts[i] = encoded(values[i]) end
  return table.concat(parts, ",")
end

local function headers(claims)
  return {
    {"x-gatepass-subject", encoded(claims.sub)},
    {"x-gatepass-session", encoded(claims.sid)},
    {"x-gatepass-client", encoded(claims.client_id)},
    {"x-gatepass-scope", claims.scope},
    {"x-gatepass-roles", list(claims.roles)},
    {"x-gatepass-token-id", encoded(claims.jti)},
    {"x-gatepass-auth-time", ("%.0f"):format(claims.auth_time)},
    {"x-gatepass-amr", list(claims.amr)},
    {"x-gatepass-acr", encoded(claims.acr or "")},
    {"x-gatepass-expires", ("%.0f"):format(claims.exp)},
  }
end

return {headers = headers}
