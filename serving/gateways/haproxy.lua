-- HAProxy asks Pointsman before it passes a message on. Settings are the setenv lines of haproxy.cfg.
--
-- The body is not parsed while the service answers: it goes into the envelope as it is, and only its model is replaced.
-- core.tcp, not core.httpclient: in 2.6 that one tries again for seconds when nobody listens. Not SPOE: an agent that is
-- down costs the whole deadline there, one that is up needs a process of its own, and neither can rewrite a body.

local MAX_ANSWER_BYTES = 1024 * 1024
local HOST, PORT = os.getenv("POINTSMAN_SERVICE"):match("^(.*):(%d+)$")
local DEADLINE_S = tonumber(os.getenv("POINTSMAN_DEADLINE_MS")) / 1000
local SAFE_MODEL = os.getenv("POINTSMAN_SAFE_MODEL")
-- The catalogue's names to the provider's.
local MODELS = {}
-- The provider's names, as the table of turns numbers them: the safe one first.
local NUMBERED = { SAFE_MODEL }
for named, own in os.getenv("POINTSMAN_MODELS"):gmatch("([^,=]+)=([^,=]+)") do
  MODELS[named] = own
  NUMBERED[#NUMBERED + 1] = own
end

-- From here to the next such line envoy.lua and haproxy.lua are the same: what a request says of itself.

local SESSION_HEADERS = {
  "x-pointsman-session", "x-claude-code-session-id", "session-id", "thread-id", "x-session-id", "x-session-affinity",
}
local AGENT_HEADER = "x-claude-code-agent-id"
local SENT_HEADERS = { AGENT_HEADER, "x-openai-subagent", "anthropic-version", "anthropic-beta" }
for _, name in ipairs(SESSION_HEADERS) do SENT_HEADERS[#SENT_HEADERS + 1] = name end

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

-- The envelope of a request; `header` gives one of its headers, or nil.
local function envelope(header, path, body, models)
  local sent, allowed = {}, {}
  for _, name in ipairs(SENT_HEADERS) do
    local value = header(name)
    if value then sent[#sent + 1] = quoted(name) .. ":" .. quoted(value) end
  end
  for name in pairs(models) do allowed[#allowed + 1] = quoted(name) end
  return '{"headers":{' .. table.concat(sent, ",") .. '},"path":' .. quoted(path) ..
    ',"models":[' .. table.concat(allowed, ",") .. '],"request":' .. body .. "}"
end

local MAX_DEPTH = 100
local ESCAPED = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
local LITERALS = { ["true"] = true, ["false"] = false, ["null"] = false }
local read_value

local function read_string(text, at)
  local ending = text:sub(at, at) == '"' and string_end(text, at) or error("no string")
  -- \uXXXX stays as it is: names are compared, and nothing here is shown.
  local content = text:sub(at + 1, ending - 1):gsub("\\([^u])", function(one) return ESCAPED[one] or one end)
  return content, ending + 1
end

local function skip(text, at, expected)
  at = text:find("%S", at) or error("no end")
  if not expected then return at end
  return text:sub(at, at) == expected and at + 1 or error("no " .. expected)
end

-- An object or a list that begins at `at`, and what follows it.
local function read_many(text, at, depth)
  if depth > MAX_DEPTH then error("too deep") end
  local is_list = text:sub(at, at) == "["
  local closing, result = is_list and "]" or "}", {}
  at = skip(text, at + 1)
  if text:sub(at, at) == closing then return result, at + 1 end
  while true do
    local key, value = #result + 1, nil
    if not is_list then
      key, at = read_string(text, at)
      at = skip(text, at, ":")
    end
    value, at = read_value(text, at, depth + 1)
    result[key] = value
    at = skip(text, at)
    if text:sub(at, at) == closing then return result, at + 1 end
    at = skip(text, skip(text, at, ","))
  end
end

-- A value of JSON and what follows it; null reads as false.
read_value = function(text, at, depth)
  at = skip(text, at)
  local first = text:sub(at, at)
  if first == '"' then return read_string(text, at) end
  if first == "{" or first == "[" then return read_many(text, at, depth) end
  local word, after = text:match("^([%w%+%-%.]+)()", at)
  if LITERALS[word] ~= nil then return LITERALS[word], after end
  return tonumber(word) or error("no value"), after
end

-- A body as tables; an empty one for what is no object. Read only where the service does not say it.
local function parsed(text)
  local is_read, value = pcall(read_value, text, 1, 0)
  return is_read and type(value) == "table" and value or {}
end

local function member(value, key)
  return type(value) == "table" and value[key] or nil
end

local function has_text(value)
  return type(value) == "string" and value:find("%S") ~= nil
end

local function user_session(user_id)
  if type(user_id) ~= "string" then return nil end
  if user_id:find("^%s*{") then return member(parsed(user_id), "session_id") end
  return user_id:match("_session_(.+)$")
end

local function session_in(body)
  local metadata = member(body, "metadata")
  local names = {
    user_session(member(metadata, "user_id")) or false, member(metadata, "session_id") or false,
    member(body, "prompt_cache_key") or false, member(member(body, "client_metadata"), "session_id") or false,
  }
  for _, name in ipairs(names) do if has_text(name) then return name end end
end

-- The name of a request's session and agent; `in_body` gives the session where no header does. Nil where nothing does.
local function turn_key(header, in_body)
  local session
  for _, name in ipairs(SESSION_HEADERS) do session = session or header(name) end
  if not has_text(session) then session = in_body() end
  if not has_text(session) then return nil end
  -- A subagent: Claude Code names it, one of Codex has a thread of its own in its parent's session.
  local thread, parent = header("thread-id"), header("session-id")
  local agent = header(AGENT_HEADER) or (thread and parent and thread ~= parent and thread) or ""
  return session:match("^%s*(.-)%s*$") .. "\n" .. agent
end

-- Whether a request only carries a tool's result; behind it stands a turn that some model began.
local function is_tool_loop(body)
  local items = member(body, "messages") or member(body, "input")
  local last
  for _, item in ipairs(type(items) == "table" and items or {}) do
    local role = member(item, "role")
    if type(item) == "table" and role ~= "system" and role ~= "developer" then last = item end
  end
  if not last then return false end
  if last.role == "tool" or tostring(last.type):find("_call_output$") then return true end
  if last.role ~= "user" or type(last.content) ~= "table" then return false end
  local has_result = false
  for _, part in ipairs(last.content) do
    local kind, text = member(part, "type"), member(part, "text")
    if kind == "text" and not (type(text) == "string" and text:find("^%s*<system%-reminder>")) then return false end
    has_result = has_result or kind == "tool_result"
  end
  return has_result
end

-- Without tools a request is a title or the like, and begins no turn.
local function begins_turns(body)
  return type(body.tools) == "table" and next(body.tools) ~= nil
end

-- The service's API key, out of the environment that the gateway was started with; nil where there is none.
local function service_key()
  local key = (os.getenv("POINTSMAN_KEY") or ""):match("^%s*(.-)%s*$")
  if key:find("[^\33-\126]") then
    error("POINTSMAN_KEY: expected printable ASCII, as 'pointsman keys create' prints it. Check where it is set.", 0)
  end
  return key ~= "" and key or nil
end

local KEY = service_key()
local ADVISED_EVERY_S = 3600

local function is_refusal(status)
  return status == "401" or status == "403"
end

-- What to do about a service that refuses the key.
local function advice(status)
  return "Pointsman answers " .. status .. ": it decides only for an API key with the role decide, and " ..
    (KEY and "refuses the one in POINTSMAN_KEY" or "POINTSMAN_KEY is not set") ..
    ". Make one with 'pointsman keys create NAME --role decide', export it as POINTSMAN_KEY where the gateway starts, " ..
    "and start the gateway again."
end

-- What envoy.lua and haproxy.lua share ends here.

-- What each session's turn is on, for when the service is away: a stick table, which all threads share. Lua may read it;
-- what is set here the configuration writes. Twice the model's number, and one more where it is only the safe one.

local function turn_name(txn, key)
  return txn.c:hex(txn.c:sha1(key))
end

local function remembered(txn, key)
  local entry = core.backends.pointsman_turns.stktable:lookup(turn_name(txn, key))
  local model = entry and NUMBERED[entry.gpt0 // 2]
  return model and { model = model, is_safe = entry.gpt0 % 2 == 1 }
end

local function remember(txn, key, model, is_safe)
  for number, own in ipairs(NUMBERED) do
    if own == model then
      txn:set_var("txn.pointsman_turn", turn_name(txn, key))
      return txn:set_var("txn.pointsman_turn_model", 2 * number + (is_safe and 1 or 0))
    end
  end
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

-- The answer's body, or nil with the cause and the status.
local function received(read)
  local line, failure = read("*l")
  if not line then return nil, failure end
  local status = line:match("^HTTP/1%.%d (%d%d%d)")
  if not status then return nil, "garbage" end
  if status ~= "200" then return nil, "status", status end
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
  local answer, failure, status
  if socket:connect(HOST, tonumber(PORT)) then
    local head = "POST /v1/decide HTTP/1.0\r\nhost: pointsman\r\ncontent-type: application/json\r\n" ..
      (KEY and "x-pointsman-key: " .. KEY .. "\r\n" or "") .. "content-length: "
    socket:send(head .. #content .. "\r\n\r\n" .. content)
    answer, failure, status = received(reader(socket, until_s))
  else
    failure = now_s() >= until_s - 0.005 and "timeout" or "unreachable"
  end
  socket:close()
  return answer, failure, status
end

-- The decision, or nil with the cause and the status.
local function decided(txn, header, body)
  local is_packed = txn.sf:req_hdr("content-encoding") ~= ""
  local is_part = (tonumber(txn.sf:req_hdr("content-length")) or 0) > #body
  if is_packed or is_part then return nil, "unread" end
  local answer, failure, status = asked(envelope(header, txn.sf:path(), body, MODELS))
  if failure then return nil, failure, status end
  local decision = parsed(answer)
  if type(decision.model) ~= "string" then return nil, "garbage" end
  if not MODELS[decision.model] then return nil, "unknown_model" end
  return decision
end

-- The model of an answer; a turn that the safe model carried while the service was away stays on it.
local function accepted(txn, header, decision)
  local model = MODELS[decision.model]
  if decision.kind == "background" then return model end
  local key = turn_key(header, function() return decision.session_id end)
  if not key then return model end
  local turn = remembered(txn, key)
  local is_kept = turn and turn.is_safe and decision.kind == "tool_loop"
  -- Written again though it may be the same: what is used stays in the table.
  remember(txn, key, is_kept and turn.model or model, is_kept)
  return is_kept and turn.model or model
end

-- The model without an answer: that of the turn under way, else the safe one.
local function carried(txn, header, text)
  local body = parsed(text)
  local key = turn_key(header, function() return session_in(body) end)
  local turn = key and is_tool_loop(body) and remembered(txn, key)
  if turn then return turn.model end
  if key and begins_turns(body) then remember(txn, key, SAFE_MODEL, true) end
  return SAFE_MODEL
end

-- When it was said stands in a variable of haproxy.cfg, which all threads share.
local function advise(txn, status)
  local now = math.floor(now_s())
  if now - (txn:get_var("proc.pointsman_advised_s") or 0) < ADVISED_EVERY_S then return end
  txn:set_var("proc.pointsman_advised_s", now)
  txn:Warning(advice(status))
end

core.register_action("pointsman", { "http-req" }, function(txn)
  local body = txn.sf:req_body() or ""
  local headers = txn.http:req_get_headers()
  local function header(name) return headers[name] and headers[name][0] end
  local model
  local decision, failure, status = decided(txn, header, body)
  if decision then
    model = accepted(txn, header, decision)
    txn:set_var("txn.pointsman_decision_id", tostring(decision.decision_id))
  else
    model = carried(txn, header, body)
    if is_refusal(status) then advise(txn, status) end
    txn:Warning("no decision (" .. failure .. "), so " .. model .. " takes the request")
    txn:set_var("txn.pointsman_failure", failure)
  end
  -- A backend may be chosen by this variable, where a model has an address of its own.
  txn:set_var("txn.pointsman_model", model)
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
