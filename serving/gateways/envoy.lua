-- Envoy asks Pointsman before it passes a message on. Settings stand in envoy.yaml, as the filter's metadata.
--
-- The body is not parsed while the service answers: it goes into the envelope as it is, and only its model is replaced.

local TURN_PATHS = { ["/v1/messages"] = true, ["/v1/chat/completions"] = true, ["/v1/responses"] = true }
local MAX_TURNS = 5000

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

-- What each session's turn is on, for when the service is away. Every worker of Envoy has its own, and a connection
-- stays with its worker. The older half goes when the newer one is full.
local newer, older, n_newer = {}, {}, 0

local function remember(key, model, is_safe)
  if n_newer >= MAX_TURNS then newer, older, n_newer = {}, newer, 0 end
  if not newer[key] then n_newer = n_newer + 1 end
  newer[key] = { model = model, is_safe = is_safe }
end

local function remembered(key, settings)
  local turn = newer[key] or older[key]
  if not turn or not settings.models or turn.model == settings.safe_model then return turn end
  for _, own in pairs(settings.models) do if own == turn.model then return turn end end
end

-- Every worker of Envoy says it for itself.
local advised_s

local function advise(handle, status)
  if advised_s and os.time() - advised_s < ADVISED_EVERY_S then return end
  advised_s = os.time()
  handle:logWarn(advice(status))
end

-- The decision, or nil with the cause.
local function asked(handle, header, body, path, settings)
  local headers, answer = handle:httpCall("pointsman", {
    [":method"] = "POST", [":path"] = "/v1/decide", [":authority"] = "pointsman", ["content-type"] = "application/json",
    ["x-pointsman-key"] = KEY,
  }, envelope(header, path, body, settings.models), settings.deadline_ms)
  local status = headers and headers[":status"] or "none"
  if status == "504" then return nil, "timeout" end
  if status == "503" then return nil, "unreachable" end
  if is_refusal(status) then advise(handle, status) end
  if status ~= "200" then return nil, "status" end
  local decision = parsed(answer or "")
  if type(decision.model) ~= "string" then return nil, "garbage" end
  return decision
end

-- As `asked`, where a filter before this one did: ext_authz leaves its answer in headers.
local function asked_before(header)
  if not header("x-pointsman-model") then return nil, "unreachable" end
  return {
    model = header("x-pointsman-model"), kind = header("x-pointsman-kind"),
    decision_id = header("x-pointsman-decision-id"),
  }
end

-- The model of an answer; a turn that the safe model carried while the service was away stays on it.
local function accepted(header, decision, model, body, settings)
  if decision.kind == "background" then return model end
  local key = turn_key(header, function()
    if decision.session_id == nil then return session_in(parsed(body)) end
    return decision.session_id
  end)
  if not key then return model end
  local turn = remembered(key, settings)
  if turn and turn.is_safe and decision.kind == "tool_loop" then return turn.model end
  remember(key, model, false)
  return model
end

-- The model without an answer: that of the turn under way, else the safe one.
local function carried(header, text, settings)
  local body = parsed(text)
  local key = turn_key(header, function() return session_in(body) end)
  local turn = key and is_tool_loop(body) and remembered(key, settings)
  if turn then return turn.model end
  if key and begins_turns(body) then remember(key, settings.safe_model, true) end
  return settings.safe_model
end

-- What the processor of ext_proc decided is remembered too, for when the processor itself is away.
local function noted(header, note)
  local key = turn_key(header, function() end)
  if key and (note.kind or "") ~= "" and note.kind ~= "background" then remember(key, note.model, false) end
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path"):gsub("?.*", "")
  if handle:headers():get(":method") ~= "POST" or not TURN_PATHS[path] then return end
  local function header(name) return handle:headers():get(name) end
  -- Behind ext_proc there is only to do what its processor left undone.
  local note = handle:streamInfo():dynamicMetadata():get("pointsman")
  if note then return noted(header, note) end
  local given = handle:metadata()
  local settings = {
    models = given:get("models"), safe_model = given:get("safe_model"), deadline_ms = given:get("deadline_ms"),
  }
  -- Read before the body is waited for: then what this came from is no longer ours.
  local asks_before = given:get("asked_before")
  local buffer = handle:body()
  local body = buffer and buffer:getBytes(0, buffer:length()) or ""
  local is_packed = header("content-encoding") ~= nil
  local model, decision, failure
  if is_packed then
    failure = "unread"
  elseif asks_before then
    decision, failure = asked_before(header)
  else
    decision, failure = asked(handle, header, body, path, settings)
  end
  if decision then
    model = settings.models and settings.models[decision.model]
    if not model then failure = "unknown_model" end
  end
  if failure then
    model = carried(header, body, settings)
    handle:logWarn("no decision (" .. failure .. "), so " .. model .. " takes the request")
  else
    model = accepted(header, decision, model, body, settings)
  end
  local first, last = find_model(body)
  if first and not is_packed then
    local changed = body:sub(1, first - 1) .. quoted(model) .. body:sub(last + 1)
    -- The buffer from before the call is no longer ours.
    handle:headers():replace("content-length", tostring(handle:body():setBytes(changed)))
  end
  -- A route may choose by this header, where a model has an address of its own.
  handle:headers():replace("x-pointsman-model", model)
  handle:clearRouteCache()
  local answer = { model = model, failure = failure or "", decision_id = not failure and decision.decision_id or "" }
  for name, value in pairs(answer) do handle:streamInfo():dynamicMetadata():set("pointsman", name, value) end
end

function envoy_on_response(handle)
  local note = handle:streamInfo():dynamicMetadata():get("pointsman")
  if not note then return end
  for _, name in ipairs({ "model", "failure", "decision_id" }) do
    if (note[name] or "") ~= "" then
      handle:headers():replace("x-pointsman-" .. name:gsub("_", "-"), note[name])
    end
  end
end
