-- Asks /v1/decide about one text after another, each in a session of its own, so that none is recalled.
-- wrk ... -- BODIES PREFIX [again]: a file with one JSON object per line, and what sessions of this run begin with.
-- With a third argument a text keeps its session: from its second time on its decision is recalled.
local bodies, prefix, is_again, count = {}, "", false, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    bodies[#bodies + 1] = string.sub(line, 1, -2)
  end
  prefix, is_again = arguments[2], arguments[3] ~= nil
end

function request()
  count = count + 1
  local place = (count - 1) % #bodies + 1
  local body = bodies[place] .. ',"session_id":"' .. prefix .. (is_again and place or count) .. '"}'
  return wrk.format("POST", "/v1/decide", { ["content-type"] = "application/json" }, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"n":%d,"seconds":%f,"n_errors":%d,"p50":%f,"p99":%f,"p99.9":%f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
