-- Run by `closed.py`: wrk -s post.lua -t N -c N URL -- FILE...
-- Each FILE holds one whole HTTP request; they are sent in turn.
--
-- A thread has one connection, so that what `request` and `response` see is one latency. wrk's own
-- latencies are not used: it adds invented ones ("coordinated omission") to those that it measured.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } timespec_;
  int clock_gettime(int clock, timespec_ *time);
]]
local MONOTONIC = 1
local time = ffi.new("timespec_")

local function now_us()
  ffi.C.clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) * 1e6 + tonumber(time.nanoseconds) / 1e3
end

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(files)
  requests = {}
  for _, path in ipairs(files) do
    local file = assert(io.open(path, "rb"))
    table.insert(requests, file:read("*a"))
    file:close()
  end
  turn = number
  latencies_us = {}
  statuses = {}
  sent = 0
end

function request()
  turn = turn + 1
  local next_request = requests[turn % #requests + 1]
  sent = now_us()
  return next_request
end

function response(status)
  if status == 200 then
    table.insert(latencies_us, math.floor(now_us() - sent))
  end
  statuses[tostring(status)] = (statuses[tostring(status)] or 0) + 1
end

function done(summary)
  local counts, latencies = {}, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      counts[status] = (counts[status] or 0) + count
    end
    for _, latency in ipairs(thread:get("latencies_us")) do
      table.insert(latencies, latency)
    end
  end
  local parts = {}
  for status, count in pairs(counts) do
    table.insert(parts, string.format('"%s": %d', status, count))
  end
  local errors = summary.errors
  print(string.format(
    '{"seconds": %.6f, "broken": %d, "statuses": {%s}, "latencies_us": [%s]}',
    summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout,
    table.concat(parts, ", "),
    table.concat(latencies, ", ")))
end
