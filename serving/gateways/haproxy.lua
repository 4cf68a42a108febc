-- HAProxy asks Pointsman before it passes a message on. Settings are the setenv lines of haproxy.cfg.
--
-- The body is not parsed: it goes into the envelope as it is, and only its model is replaced.
-- core.tcp, not core.httpclient: in 2.6 that one tries again for seconds when nobody listens. Not SPOE: an agent that is
-- down costs the whole deadline there, one that is up needs a process of its own, and neither can rewrite a body.

local MAX_ANSWER_BYTES = 1024 * 1024
local SENT_HEADERS = {
  "x-pointsman-session", "x-claude-code-session-id", "x-claude-code-agent-id", "session-id", "thread-id",
  "x-session-id", "x-session-affinity", "x-openai-subagent", "anthropic-version", "anthropic-beta",
}

local HOST, PORT = os.getenv("POINTSMAN_SERVICE"):match("^(.*):(%d+)$")
local DEADLINE_S = tonumber(os.getenv("POINTSMAN_DEADLINE_MS")) / 1000
local SAFE_MODEL = os.getenv("POINTSMAN_SAFE_MODEL")
-- The catalogue's names to the provider's.
local MODELS = {}
for named, own in os.getenv("POINTSMAN_MODELS"):gmatch("([^,=]+)=([^,=]+)") do MODELS[named] = own end

local function quoted(text)
  local escaped = text:gsub('[%c"\\\127-\255]', function(character)
    return string.format("\\u%04x", character:byte())
  end)
  return '"' .. escaped .. '"'
end

-- The end of the JSON string that begins at `position`; nil where it has none.
local function string_end(text, position)
  local at = position + 1
  while true do
    at = text:find('["\\]', at)
    if not at then return nil end
    if text:byte(at) == 34 then return at end
    at = at + 2
  end
end

-- Where the value of the top-level "model" begins and ends; a "model" deeper down is somebody else's.
local function find_model(text)
  local depth, at = 0, 1
  while true do
    at = text:find('["{}%[%]]', at)
    if not at then return nil end
    local character = text:sub(at, at)
    if character == '"' then
      local ending = string_end(text, at)
      if not ending then return nil end
      if depth == 1 and text:sub(at, ending) == '"model"' then
        local value = text:match('^%s*:%s*()"', ending + 1)
        local last = value and string_end(text, value)
        if last then return value, last end
      end
      at = ending + 1
    else
      depth = depth + ((character == "{" or character == "[") and 1 or -1)
      at = at + 1
    end
  end
end

local function envelope(txn, body)
  local headers, sent, allowed = txn.http:req_get_headers(), {}, {}
  for _, name in ipairs(SENT_HEADERS) do
    if headers[name] then sent[#sent + 1] = quoted(name) .. ":" .. quoted(headers[name][0]) end
  end
  for name in pairs(MODELS) do allowed[#allowed + 1] = quoted(name) end
  return '{"headers":{' .. table.concat(sent, ",") .. '},"path":' .. quoted(txn.sf:path()) ..
    ',"models":[' .. table.concat(allowed, ",") .. '],"request":' .. body .. "}"
end

local function now_s()
  local now = core.now()
  return now.sec + now.usec / 1000000
end

-- Reads with what is left of the deadline: its timeout alone would be for each read.
local function reader(socket, until_s)
  return function(pattern)
    local left_s = until_s - now_s()
    if left_s <= 0 then return nil, "timeout" end
    socket:settimeout(left_s)
    local data = socket:receive(pattern)
    if data then return data end
    return nil, now_s() >= until_s - 0.005 and "timeout" or "unreachable"
  end
end

-- The answer's body, or nil with the cause.
local function received(read)
  local line, failure = read("*l")
  if not line then return nil, failure end
  local status = line:match("^HTTP/1%.%d (%d%d%d)")
  if not status then return nil, "garbage" end
  if status ~= "200" then return nil, "status" end
  local n_bytes
  repeat
    line, failure = read("*l")
    if not line then return nil, failure end
    n_bytes = n_bytes or tonumber(line:lower():match("^content%-length:%s*(%d+)"))
  until line:match("^\r?$")
  if not n_bytes or n_bytes == 0 or n_bytes > MAX_ANSWER_BYTES then return nil, "garbage" end
  return read(n_bytes)
end

local function asked(content)
  local until_s = now_s() + DEADLINE_S
  local socket = core.tcp()
  socket:settimeout(DEADLINE_S)
  local answer, failure
  if socket:connect(HOST, tonumber(PORT)) then
    local head = "POST /v1/decide HTTP/1.0\r\nhost: pointsman\r\ncontent-type: application/json\r\ncontent-length: "
    socket:send(head .. #content .. "\r\n\r\n" .. content)
    answer, failure = received(reader(socket, until_s))
  else
    failure = now_s() >= until_s - 0.005 and "timeout" or "unreachable"
  end
  socket:close()
  return answer, failure
end

-- The model of the decision, or nil with the cause.
local function decided(txn, body)
  local is_packed = txn.sf:req_hdr("content-encoding") ~= ""
  local is_part = (tonumber(txn.sf:req_hdr("content-length")) or 0) > #body
  if is_packed or is_part then return nil, "unread" end
  local answer, failure = asked(envelope(txn, body))
  if failure then return nil, failure end
  -- The service writes `model` first, for readers like this one.
  local named = answer:match('^%s*{%s*"model"%s*:%s*"([^"\\]+)"')
  if not named then return nil, "garbage" end
  if not MODELS[named] then return nil, "unknown_model" end
  return MODELS[named], nil, answer:match('"decision_id"%s*:%s*"([%w%-]+)"')
end

core.register_action("pointsman", { "http-req" }, function(txn)
  local body = txn.sf:req_body() or ""
  local model, failure, decision_id = decided(txn, body)
  if failure then
    model = SAFE_MODEL
    txn:Warning("no decision (" .. failure .. "), so " .. model .. " takes the request")
    txn:set_var("txn.pointsman_failure", failure)
  end
  -- A backend may be chosen by this variable, where a model has an address of its own.
  txn:set_var("txn.pointsman_model", model)
  if decision_id then txn:set_var("txn.pointsman_decision_id", decision_id) end
  local first, last = find_model(body)
  if not first then return end
  txn:set_var("txn.pointsman_first", first)
  txn:set_var("txn.pointsman_last", last)
  local length = tonumber(txn.sf:req_hdr("content-length"))
  if length then
    txn.http:req_set_header("content-length", tostring(length + #quoted(model) - (last - first + 1)))
  end
end)

-- An action cannot change a body; a filter can, when its first part goes on.
local Rewriter = { id = "pointsman", flags = filter.FLT_CFG_FL_HTX }
Rewriter.__index = Rewriter

function Rewriter:new()
  return setmetatable({}, Rewriter)
end

function Rewriter:http_headers(txn, message)
  if message.channel:is_resp() then return filter.CONTINUE end
  self.first, self.last = txn:get_var("txn.pointsman_first"), txn:get_var("txn.pointsman_last")
  self.model = txn:get_var("txn.pointsman_model")
  if self.first then filter.register_data_filter(self, message.channel) end
  return filter.CONTINUE
end

function Rewriter:http_payload(_, message)
  if not self.first then return end
  message:remove(self.first - 1, self.last - self.first + 1)
  message:insert(quoted(self.model), self.first - 1)
  self.first = nil
end

core.register_filter("pointsman", Rewriter, function(self) return self end)
