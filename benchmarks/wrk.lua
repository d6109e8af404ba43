-- Asks for the paths given as arguments in turn, and prints what it saw as one line of JSON.
local requests, at = {}, 0

function init(paths)
  for i, path in ipairs(paths) do requests[i] = wrk.format('GET', path) end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format('{"requests": %d, "microseconds": %d, "p50_us": %d, "p99_us": %d, "errors": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
