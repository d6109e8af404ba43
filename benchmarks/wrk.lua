-- Sends the requests given as arguments in turn, and prints what it saw as one line of JSON.
-- A request is a path to get, or a path and below it the JSON to post there.
local requests, at = {}, 0

function init(arguments)
  for i, argument in ipairs(arguments) do
    local path, body = argument:match('^([^\n]*)\n?(.*)$')
    if body == '' then
      requests[i] = wrk.format('GET', path)
    else
      requests[i] = wrk.format('POST', path, {['Content-Type'] = 'application/json'}, body)
    end
  end
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
