-- Reads the replica's file (docs/replica.md) through a mapping of one's own; for LuaJIT, 64 bits.

local ffi = require("ffi")
local bit = require("bit")

ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } gatepass_time;
  int clock_gettime(int clock, gatepass_time *now);
  int open(const char *path, int flags, ...);
  int close(int descriptor);
  long lseek(int descriptor, long offset, int whence);
  void *mmap(void *at, size_t size, int protection, int flags, int descriptor, long offset);
  int munmap(void *at, size_t size);
  int memcmp(const void *one, const void *other, size_t size);
]]

local C = ffi.C
local READ_ONLY_CLOSED_ON_EXEC, END, READABLE, SHARED = 0x80000, 2, 1, 1
local REALTIME, BOOTTIME = 0, 7
local MAGIC = ffi.cast("const uint64_t*", "GPCOPY02")[0]
local HEADER, BLOCKS, BLOCK, SALTS, SALT, MOST_SALTS, SLOT = 4096, 512, 512, 16, 32, 9, 29
local MOST_PROBES = 4096
local LEVEL = bit.rshift(ffi.cast("uint64_t", -1LL), 8)
local SPINS = 1000

local time = ffi.new("gatepass_time")

local function clock(which)
  if C.clock_gettime(which, time) ~= 0 then error("no clock") end
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

-- Seconds since the epoch.
local function wall_clock() return clock(REALTIME) end

-- Seconds on a clock that nobody sets and that goes on while the machine is suspended.
local function boot_clock() return clock(BOOTTIME) end

-- A whole number as 8 bytes, the highest first.
local function octets(number)
  local left, found = ffi.cast("uint64_t", ffi.cast("int64_t", number)), {}
  for i = 1, 8 do
    found[i] = string.char(tonumber(bit.band(bit.rshift(left, 64 - 8 * i), 0xff)))
  end
  return table.concat(found)
end

-- The boot of this machine, 16 bytes; with an offset of the boot clock, in a time namespace, another.
local function boot_id()
  local file = assert(io.open("/proc/sys/kernel/random/boot_id", "r"))
  local text = file:read("*l"):gsub("-", "")
  file:close()
  local offsets = io.open("/proc/self/timens_offsets", "r")
  local seconds, nanoseconds
  if offsets then
    seconds, nanoseconds = ("\n" .. offsets:read("*a")):match("\nboottime%s+(-?%d+)%s+(%d+)")
    offsets:close()
  end
  local by, at = octets(tonumber(seconds or 0)) .. octets(tonumber(nanoseconds or 0)), 0
  return (text:gsub("%x%x", function(pair)
    at = at + 1
    return string.char(bit.bxor(tonumber(pair, 16), by:byte(at)))
  end))
end

local BOOT = boot_id()

-- The table in a file, or nil where there is none of this format and of this boot.
local function open(path)
  local descriptor = C.open(path, READ_ONLY_CLOSED_ON_EXEC)
  if descriptor < 0 then return nil end
  local size = tonumber(C.lseek(descriptor, 0, END))
  local base = size >= HEADER and C.mmap(nil, size, READABLE, SHARED, descriptor, 0)
  C.close(descriptor)
  if not base or base == ffi.cast("void*", -1) then return nil end
  base = ffi.gc(base, function(at) C.munmap(at, size) end)
  local bytes = ffi.cast("const uint8_t*", base)
  local words = ffi.cast("const volatile uint64_t*", base)
  local capacity = tonumber(words[6])
  local room = math.ceil(capacity / 8) * 8
  if words[0] ~= MAGIC or capacity < 1 or size ~= HEADER + room * SLOT
    or ffi.string(bytes + 80, 16) ~= BOOT then
    return nil
  end
  return {
    base = base, bytes = bytes, words = words, capacity = capacity, modulus = words[6],
    tags = ffi.cast("const volatile uint8_t*", bytes + HEADER),
    ids = bytes + HEADER + room,
    levels = ffi.cast("const volatile uint64_t*", bytes + HEADER + 17 * room),
    watermark = -1, salts = {},
  }
end

-- Whether another file has taken the place of this one.
local function superseded(self)
  return self.words[8] ~= 0
end

-- The boot clock's second as of which everything is in the table; nil where nobody can tell.
local function fresh_at(self)
  local at = tonumber(self.words[3])
  return at > 0 and (at - 1) / 1e6 or nil
end

-- The second up to which what was over may have been let go; asked before and after what is looked up.
local function swept(self)
  return tonumber(self.words[4])
end

-- Takes up watermark and salts where they have changed; false where they change all the time.
local function read_header(self)
  local words = self.words
  for _ = 1, SPINS do
    local before = tonumber(words[1])
    if before == self.sequence then return true end
    local block = self.bytes + BLOCKS + before % 2 * BLOCK
    local numbers = ffi.cast("const volatile uint64_t*", block)
    local watermark, number = tonumber(numbers[0]) - 1, tonumber(numbers[1])
    local salts = {}
    for i = 1, math.min(number, MOST_SALTS) do
      salts[i] = ffi.string(block + SALTS + SALT * (i - 1), SALT)
    end
    if tonumber(words[1]) == before and number <= MOST_SALTS then
      self.watermark, self.salts, self.sequence = watermark, salts, before
      return true
    end
  end
  return false
end

-- The level of a record, 0 where there is none; `id` is 16 bytes.
local function level_of(self, kind, id)
  local wanted = ffi.cast("const uint8_t*", id)
  local at = tonumber(ffi.cast("const uint64_t*", wanted)[0] % self.modulus)
  local tag = wanted[15] % 254 + 1
  local capacity, tags, letter = self.capacity, self.tags, kind:byte()
  local ids = self.ids
  for _ = 1, math.min(capacity, MOST_PROBES) do
    local found = tags[at]
    if found == 0 then return 0 end
    if found == tag and C.memcmp(ids + 16 * at, wanted, 16) == 0 then
      local word = self.levels[at]
      -- Once more: the record may have gone, and another taken its place.
      if tonumber(bit.rshift(word, 56)) == letter and C.memcmp(ids + 16 * at, wanted, 16) == 0 then
        return tonumber(bit.band(word, LEVEL))
      end
    end
    at = at + 1
    if at == capacity then at = 0 end
  end
  return 0
end

return {
  open = open, superseded = superseded, fresh_at = fresh_at, read_header = read_header,
  swept = swept, level_of = level_of, wall_clock = wall_clock, boot_clock = boot_clock,
}
