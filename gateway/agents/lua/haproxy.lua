-- The part of Gatepass that runs inside HAProxy (2.6 or newer, Lua 5.3), in each of its threads.
--
-- `http-request lua.gatepass` sets txn.gatepass to `ok`, `required` (no bearer token), `refused` or
-- `stale`, and the X-Gatepass headers. An error in here leaves it unset, which is no `ok`.

local PROTOCOL = 2
local MAX_TOKEN, MAX_HEADER, MAX_SIGNATURE = 8192, 1024, 700
local MOST_HEADERS = 64
local OUTLIVED_BY = 60
-- Format, the moment as of which the copy is complete, the latest expiry that may be missing, watermark,
-- salts in hexadecimal, and which files it was loaded with: `-` where the agent has put it.
local STATE = "^(%d+)/([^/]+)/(%d+)/(-?%d+)/(%x[%x,]*)/([%x.-]+)$"
-- /proc/uptime counts hundredths; what it has not counted yet may have passed.
local UPTIME_STEP = 0.01

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local DIGITS, VALUES = {}, {}
for i = 0, 63 do
  local letter = ALPHABET:sub(i + 1, i + 1)
  DIGITS[i], VALUES[letter:byte()] = letter, i
end

local state_map = Map.new(settings.directory .. "/state.map", Map._str)
local shards = {}
for i = 0, 255 do
  shards[i] = Map.new(("%s/denylist/%02x.map"):format(settings.directory, i), Map._str)
end

-- Opened before HAProxy leaves for its chroot. It is the clock that nobody sets and that goes on
-- while the machine is suspended, which the agent goes by too.
local uptime_file = assert(io.open("/proc/uptime", "r"))
uptime_file:setvbuf("no")

-- What the agent saved for a reload counts in the boot in which it did: /proc/uptime begins anew.
local boot_file = assert(io.open("/proc/sys/kernel/random/boot_id", "r"))
local BOOT = boot_file:read("l"):gsub("-", "")
boot_file:close()

-- HAProxy may run another request between any two steps here, and that moves the file's position: a
-- number counts only at the beginning of the file, all of which is read at once.
local function uptime()
  for _ = 1, 3 do
    uptime_file:seek("set", 0)
    local now = tonumber((uptime_file:read(64) or ""):match("^(%d+%.%d+) "))
    if now then return now end
  end
  error("no clock")
end

-- 16 bytes in base64url.
local function spelled(raw)
  local high, low = string.unpack(">i8i8", raw)
  local letters = {}
  for i = 0, 9 do letters[i + 1] = DIGITS[(high >> (58 - 6 * i)) & 63] end
  letters[11] = DIGITS[((high & 15) << 2) | ((low >> 62) & 3)]
  for i = 0, 9 do letters[i + 12] = DIGITS[(low >> (56 - 6 * i)) & 63] end
  letters[22] = DIGITS[(low & 3) << 4]
  return table.concat(letters)
end

-- The level of a record: its shard is its identifier's first byte.
local function level(kind, id)
  local shard = (VALUES[id:byte(1)] << 2) | (VALUES[id:byte(2)] >> 4)
  local found = shards[shard]:lookup(kind .. id)
  if not found then return 0 end
  -- A record that cannot be read refuses whatever it hits.
  return math.tointeger(tonumber(found:match("^(%d+)/"))) or math.maxinteger
end

local id_of = digests.remembered(blake2b, spelled)

local copy = {
  id_level = level,
  name_level = function(kind, name, salt) return level(kind, id_of(kind, name, salt)) end,
  salts = {},
  watermark = -1,
}
local seen, fresh_at, dropped = nil, nil, nil

-- Whether all maps were loaded from the files of one saving, in this boot.
local function is_whole(saving)
  if saving:match("^%x+") ~= BOOT then return false end
  for i = 0, 255 do
    if shards[i]:lookup("saved") ~= saving then return false end
  end
  return true
end

-- Takes in what the agent says of the copy.
local function read_state()
  local text = state_map:lookup("state")
  if text == seen then return end
  seen, fresh_at, dropped = text, nil, nil
  local form, fresh, latest, mark, hex, saving = (text or ""):match(STATE)
  if form ~= tostring(PROTOCOL) then return end
  local salts = {}
  for salt in hex:gmatch("%x+") do
    salts[#salts + 1] = salt:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  end
  copy.salts, copy.watermark = salts, tonumber(mark)
  if saving == "-" or is_whole(saving) then
    fresh_at, dropped = tonumber(fresh), tonumber(latest)
  end
  id_of = digests.remembered(blake2b, spelled)
end

-- Whether the copy may be gone by.
local function vouched_for()
  read_state()
  if not fresh_at then return false end
  local staleness = uptime() + UPTIME_STEP - fresh_at + settings.heartbeat_interval
  return staleness <= settings.max_staleness
end

local headers, headers_kept = {}, 0

-- Whether a header segment belongs to an access token under this key and algorithm.
local function good_header(txn, segment, kid, alg)
  local known = headers[segment]
  if not known then
    local header = #segment <= MAX_HEADER and claims.canonical(segment)
      and json.decode(txn.c:ub64dec(segment))
    if not header or not claims.header_fits(header, kid, alg) then return false end
    if headers_kept >= MOST_HEADERS then headers, headers_kept = {}, 0 end
    known = {kid = kid, alg = alg}
    headers[segment], headers_kept = known, headers_kept + 1
  end
  return known.kid == kid and known.alg == alg
end

-- The one bearer token of a request (RFC 6750 section 2.1); nil where there is none, and false
-- where there is more than one Authorization header or it is of another form.
local function bearer(txn)
  local given = txn.http:req_get_headers()["authorization"]
  if not given then return nil end
  if given[1] then return false end
  local scheme, token = given[0]:match("^(%a+) +([%w._-]+)$")
  if scheme and scheme:lower() == "bearer" then return token end
  if given[0]:lower():find("^bearer +[^ ]") then return false end
end

-- The claims of a token whose signature HAProxy has verified, or nil.
local function valid_claims(txn, token, now)
  local kid, alg = txn:get_var("txn.gatepass_kid"), txn:get_var("txn.gatepass_alg")
  -- HAProxy verified what it took for the token; nothing else may be read.
  if txn:get_var("txn.gatepass_verified") ~= 1 or txn:get_var("txn.gatepass_token") ~= token then
    return nil
  end
  if not kid or not alg or #token > MAX_TOKEN then return nil end
  local header, payload, signature = token:match("^([^.]+)%.([^.]+)%.([^.]+)$")
  if not header or #signature > MAX_SIGNATURE then return nil end
  if not claims.canonical(payload) or not claims.canonical(signature) then return nil end
  if not claims.signature_fits(signature, alg) then return nil end
  if not good_header(txn, header, kid, alg) then return nil end
  local found = json.decode(txn.c:ub64dec(payload))
  if found and claims.acceptable(found, settings, now) then return found, kid end
end

local function decide(txn)
  local token = bearer(txn)
  if token == nil then return "required" end
  if not token then return "refused" end
  local now = os.time()
  local found, kid = valid_claims(txn, token, now)
  if not found then return "refused" end
  local trusted = vouched_for()
  local gone = dropped
  -- What the copy refuses is refused, however old the copy.
  if seen and denylist.refusal(found, claims.audiences(found.aud), kid, copy) then
    return "refused"
  end
  -- By a clock that was put back a token may be alive again whose entry is gone. What that depends
  -- on rises before an entry goes, and falls once all is known again: it is asked twice.
  if not trusted or not vouched_for() or found.exp + OUTLIVED_BY <= math.max(gone, dropped) then
    return "stale"
  end
  for _, header in ipairs(identity.headers(found)) do
    txn.http:req_set_header(header[1], header[2])
  end
  txn:set_var("txn.gatepass_subject", found.sub)
  -- With a space at either end, so that `-m sub " orders:read "` finds a whole one.
  txn:set_var("txn.gatepass_scope", " " .. found.scope .. " ")
  local roles = found.roles and table.concat(found.roles, "\n") or ""
  txn:set_var("txn.gatepass_roles", "\n" .. roles .. "\n")
  return "ok"
end

core.register_action("gatepass", {"http-req"}, function(txn)
  txn:set_var("txn.gatepass", decide(txn))
end, 0)

-- For the agent: which rules run here, by which clock, and whether this process is on its way out.
core.register_cli({"gatepass", "status"}, "gatepass status : Gatepass's rules and clock",
  function(applet)
    local stopping = core.get_info().Stopping
    applet:send(("gatepass %d %s %.2f %s\n"):format(PROTOCOL, settings.digest, uptime(), stopping))
  end)
