-- Keyed BLAKE2b with a digest of 16 bytes and a person of one byte (RFC 7693), for Lua 5.3.
-- The twelve rounds are written out by the code below, once, when the file is loaded.

local IV = {
  0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
  0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
}

local SIGMA = {
  {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
  {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
  {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
  {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
  {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
  {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
  {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
  {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
  {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
  {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
}

local MIX = [[
%a = %a + %b + %x; %d = %d ~ %a; %d = (%d >> 32) | (%d << 32)
%c = %c + %d; %b = %b ~ %c; %b = (%b >> 24) | (%b << 40)
%a = %a + %b + %y; %d = %d ~ %a; %d = (%d >> 16) | (%d << 48)
%c = %c + %d; %b = %b ~ %c; %b = (%b >> 63) | (%b << 1)
]]

local LANES = {
  {0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15},
  {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14},
}

local function written_out()
  local lines = {"local IV = ...", "return function(h, length, last, block)"}
  local names = {}
  for i = 0, 15 do names[#names + 1] = "m" .. i end
  lines[#lines + 1] = "local " .. table.concat(names, ", ")
    .. " = string.unpack('<" .. string.rep("i8", 16) .. "', block)"
  for i = 0, 7 do
    lines[#lines + 1] = ("local v%d, v%d = h[%d], IV[%d]"):format(i, i + 8, i + 1, i + 1)
  end
  lines[#lines + 1] = "v12 = v12 ~ length; if last then v14 = ~v14 end"
  for round = 0, 11 do
    local order = SIGMA[round % 10 + 1]
    for at, lane in ipairs(LANES) do
      local step = {
        a = "v" .. lane[1], b = "v" .. lane[2], c = "v" .. lane[3], d = "v" .. lane[4],
        x = "m" .. order[2 * at - 1], y = "m" .. order[2 * at],
      }
      lines[#lines + 1] = (MIX:gsub("%%(%a)", step))
    end
  end
  local words = {}
  for i = 0, 7 do words[#words + 1] = ("h[%d] ~ v%d ~ v%d"):format(i + 1, i, i + 8) end
  lines[#lines + 1] = "return {" .. table.concat(words, ", ") .. "}"
  lines[#lines + 1] = "end"
  return table.concat(lines, "\n")
end

local compress = load(written_out(), "=blake2b")(IV)

local function padded(text, size)
  return text .. string.rep("\0", size - #text)
end

-- The state after the block that holds the key.
local function keyed(key, person)
  local parameters = string.pack("<I1I1I1I1", 16, #key, 1, 1) .. string.rep("\0", 44)
    .. padded(person, 16)
  local words = {string.unpack("<" .. string.rep("i8", 8), parameters)}
  local h = {}
  for i = 1, 8 do h[i] = IV[i] ~ words[i] end
  return compress(h, 128, false, padded(key, 128))
end

-- The digest of a text that is not empty, from the state that `keyed` returned.
local function digest(state, text)
  local h, done = state, 0
  while #text - done > 128 do
    h = compress(h, 256 + done, false, text:sub(done + 1, done + 128))
    done = done + 128
  end
  h = compress(h, 128 + #text, true, padded(text:sub(done + 1), 128))
  return string.pack("<i8i8", h[1], h[2])
end

return {keyed = keyed, digest = digest}
