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

local function contents(path)
  local file = io.open(path, "r")
  local text = file and file:read("a")
  if file then file:close() end
  return text or ""
end

-- The boot, as `revocation.table_storage.boot_id` tells it; empty where the system does not. What the
-- agent saved for a reload counts in that boot alone, since /proc/uptime begins anew.
local function boot_id()
  local text = contents("/proc/sys/kernel/random/boot_id"):gsub("[-%s]", "")
  if not text:match("^%x+$") or #text ~= 32 then return "" end
  local offsets = "\n" .. contents("/proc/self/timens_offsets")
  local seconds, nanoseconds = offsets:match("\nboottime%s+(-?%d+)%s+(%d+)")
  local high, low = tonumber(text:sub(1, 16), 16), tonumber(text:sub(17), 16)
  return ("%016x%016x"):format(
    high ~ math.tointeger(tonumber(seconds or 0)), low ~ math.tointeger(tonumber(nanoseconds or 0)))
end
local BOOT = boot_id()

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

-- Whether all maps were loaded from the files of one saving, in this boot, before now.
local function is_whole(saving, fresh)
  if saving:match("^%x+") ~= BOOT or not fresh or fresh > uptime() + UPTIME_STEP then return false end
  for i = 0, 255 do
    if shards[i]:lookup("saved") ~= saving then return false end
  end
  return true
end

local id_of = digests.remembered(blake2b, spelled)

local function name_level(kind, name, salt) return level(kind, id_of(kind, name, salt)) end

-- What the agent says of the copy; of one that cannot be read, no more than what `before` refuses.
local function read_state(text, before)
  local form, fresh, dropped, mark, hex, saving = (text or ""):match(STATE)
  local state = {
    text = text, salts = before.salts, watermark = before.watermark,
    id_level = level, name_level = name_level,
  }
  if form == tostring(PROTOCOL) then
    state.salts, state.watermark = {}, tonumber(mark)
    for salt in hex:gmatch("%x+") do
      state.salts[#state.salts + 1] = salt:gsub("%x%x", function(pair)
        return string.char(tonumber(pair, 16))
      end)
    end
    if saving == "-" or is_whole(saving, tonumber(fresh)) then
      state.fresh_at, state.dropped = tonumber(fresh), tonumber(dropped)
    end
  end
  return state
end

local known = read_state(nil, {salts = {}, watermark = -1})

-- The present state. HAProxy may run another request of this thread between any two steps, so that each
-- goes by one that is whole, and changes none.
local function present()
  local text, before = state_map:lookup("state"), known
  if text ~= before.text then
    before = read_state(text, before)
    known = before
  end
  return before
end

-- Whether the copy may be gone by for a token that expires then. By a clock that was put back it may be
-- alive again, and its entry gone.
local function vouches_for(state, expires)
  if not state.fresh_at or expires + OUTLIVED_BY <= state.dropped then return false end
  local staleness = uptime() + UPTIME_STEP - state.fresh_at + settings.heartbeat_interval
  return staleness >= 0 and staleness <= settings.max_staleness
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
  local before = present()
  -- What the copy refuses is refused, however old the copy.
  if denylist.refusal(found, claims.audiences(found.aud), kid, before) then return "refused" end
  -- Asked twice: what may be gone rises before an entry goes, and falls once all is known again.
  if not vouches_for(before, found.exp) or not vouches_for(present(), found.exp) then return "stale" end
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
