-- JSON as RFC 8725 wants it: one object in UTF-8, no duplicate members, no lone surrogates.
-- `decode` returns nil for anything else. Arrays hold their length as `n`; null is `NULL`.

local MAX_BRACKETS = 256
local NULL = {}
local ESCAPES = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local value

local function refuse(what)
  error(what, 0)
end

local function skip(text, at)
  return text:find("[^ \t\n\r]", at) or #text + 1
end

local function unescaped(raw)
  local parts, at = {}, 1
  while true do
    local from = raw:find("\\", at, true)
    if not from then
      parts[#parts + 1] = raw:sub(at)
      return table.concat(parts)
    end
    parts[#parts + 1] = raw:sub(at, from - 1)
    local letter = raw:sub(from + 1, from + 1)
    if letter == "u" then
      local digits = raw:match("^%x%x%x%x", from + 2) or refuse("escape")
      local code = tonumber(digits, 16)
      at = from + 6
      if code >= 0xD800 and code <= 0xDBFF then
        local low = tonumber(raw:match("^\\u(%x%x%x%x)", at) or refuse("surrogate"), 16)
        if low < 0xDC00 or low > 0xDFFF then refuse("surrogate") end
        code = 0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00)
        at = at + 6
      elseif code >= 0xDC00 and code <= 0xDFFF then
        refuse("surrogate")
      end
      parts[#parts + 1] = utf8.char(code)
    else
      parts[#parts + 1] = ESCAPES[letter] or refuse("escape")
      at = from + 2
    end
  end
end

local function string_at(text, at)
  local from = at + 1
  while true do
    local stop = text:find('["\\%c]', at + 1)
    local letter = stop and text:sub(stop, stop)
    if letter == '"' then
      local raw = text:sub(from, stop - 1)
      return raw:find("\\", 1, true) and unescaped(raw) or raw, stop + 1
    elseif letter == "\\" then
      at = stop + 1
    elseif letter == "\127" then
      at = stop -- the one control character that JSON lets stand
    else
      refuse("string")
    end
  end
end

local function number_at(text, at)
  local stop = (text:find("[^%d+%-.eE]", at) or #text + 1) - 1
  local raw = text:sub(at, stop)
  local whole, fraction, exponent = raw:match("^%-?(%d+)(%.?%d*)([eE]?[+-]?%d*)$")
  if not whole or (#whole > 1 and whole:sub(1, 1) == "0") then refuse("number") end
  if fraction == "." or (exponent ~= "" and not exponent:find("^[eE][+-]?%d+$")) then
    refuse("number")
  end
  local found = tonumber(raw)
  if found == math.huge or found == -math.huge then refuse("number") end
  return found, stop + 1
end

local function object_at(text, at)
  local members = {}
  at = skip(text, at + 1)
  if text:sub(at, at) == "}" then return members, at + 1 end
  while true do
    if text:sub(at, at) ~= '"' then refuse("member") end
    local name, member
    name, at = string_at(text, at)
    at = skip(text, at)
    if text:sub(at, at) ~= ":" or members[name] ~= nil then refuse("member") end
    member, at = value(text, skip(text, at + 1))
    members[name] = member
    at = skip(text, at)
    local sign = text:sub(at, at)
    if sign == "}" then return members, at + 1 end
    if sign ~= "," then refuse("object") end
    at = skip(text, at + 1)
  end
end

local function array_at(text, at)
  local items = {n = 0}
  at = skip(text, at + 1)
  if text:sub(at, at) == "]" then return items, at + 1 end
  while true do
    items.n = items.n + 1
    items[items.n], at = value(text, at)
    at = skip(text, at)
    local sign = text:sub(at, at)
    if sign == "]" then return items, at + 1 end
    if sign ~= "," then refuse("array") end
    at = skip(text, at + 1)
  end
end

function value(text, at)
  local first = text:sub(at, at)
  if first == '"' then return string_at(text, at) end
  if first == "{" then return object_at(text, at) end
  if first == "[" then return array_at(text, at) end
  if text:find("^true", at) then return true, at + 4 end
  if text:find("^false", at) then return false, at + 5 end
  if text:find("^null", at) then return NULL, at + 4 end
  return number_at(text, at)
end

local function decode(text)
  local _, brackets = text:gsub("[{%[]", "")
  local start = skip(text, 1)
  if brackets > MAX_BRACKETS or text:sub(start, start) ~= "{" then return nil end
  -- utf8.len takes surrogates for characters: 0xED begins one where 0xA0 or more follows.
  if not utf8.len(text) or text:find("\xED[\xA0-\xBF]") then return nil end
  local fine, object, stop = pcall(object_at, text, start)
  if not fine or skip(text, stop) <= #text then return nil end
  return object
end

return {decode = decode, NULL = NULL}
