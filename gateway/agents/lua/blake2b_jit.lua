-- Keyed BLAKE2b with a digest of 16 bytes and a person of one byte (RFC 7693), for LuaJIT.

local ffi = require("ffi")
local bit = require("bit")
local bxor, ror, bnot = bit.bxor, bit.ror, bit.bnot

local IV = ffi.new("const uint64_t[8]", {
  0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
  0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
})

local SIGMA = ffi.new("const uint8_t[10][16]", {
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
})

local LANES = ffi.new("const uint8_t[8][4]", {
  {0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15},
  {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14},
})

local v = ffi.new("uint64_t[16]")
local m = ffi.new("uint64_t[16]")

local function compress(h, length, last)
  for i = 0, 7 do
    v[i], v[i + 8] = h[i], IV[i]
  end
  v[12] = bxor(v[12], ffi.cast("uint64_t", length))
  if last then v[14] = bnot(v[14]) end
  for round = 0, 11 do
    local order = SIGMA[round % 10]
    for lane = 0, 7 do
      local at = LANES[lane]
      local a, b, c, d = v[at[0]], v[at[1]], v[at[2]], v[at[3]]
      a = a + b + m[order[2 * lane]]
      d = ror(bxor(d, a), 32)
      c = c + d
      b = ror(bxor(b, c), 24)
      a = a + b + m[order[2 * lane + 1]]
      d = ror(bxor(d, a), 16)
      c = c + d
      b = ror(bxor(b, c), 63)
      v[at[0]], v[at[1]], v[at[2]], v[at[3]] = a, b, c, d
    end
  end
  for i = 0, 7 do h[i] = bxor(h[i], bxor(v[i], v[i + 8])) end
end

local function fill(text)
  ffi.fill(m, 128)
  ffi.copy(m, text, #text)
end

-- The state after the block that holds the key.
local function keyed(key, person)
  local parameters = ffi.new("uint64_t[8]")
  ffi.copy(parameters, string.char(16, #key, 1, 1), 4)
  ffi.copy(ffi.cast("uint8_t*", parameters) + 48, person, #person)
  local h = ffi.new("uint64_t[8]")
  for i = 0, 7 do h[i] = bxor(IV[i], parameters[i]) end
  fill(key)
  compress(h, 128, false)
  return h
end

-- The digest of a text that is not empty, from the state that `keyed` returned.
local function digest(state, text)
  local h, done = ffi.new("uint64_t[8]"), 0
  ffi.copy(h, state, 64)
  while #text - done > 128 do
    fill(text:sub(done + 1, done + 128))
    compress(h, 256 + done, false)
    done = done + 128
  end
  fill(text:sub(done + 1))
  compress(h, 128 + #text, true)
  return ffi.string(h, 16)
end

return {keyed = keyed, digest = digest}
