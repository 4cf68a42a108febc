-- Envoy asks Pointsman before it passes a message on. Settings stand in envoy.yaml, as the filter's metadata.
--
-- The body is not parsed: it goes into the envelope as it is, and only its model is replaced.

local SENT_HEADERS = {
  "x-pointsman-session", "x-claude-code-session-id", "x-claude-code-agent-id", "session-id", "thread-id",
  "x-session-id", "x-session-affinity", "x-openai-subagent", "anthropic-version", "anthropic-beta",
}
local TURN_PATHS = { ["/v1/messages"] = true, ["/v1/chat/completions"] = true, ["/v1/responses"] = true }

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

local function envelope(headers, path, body, models)
  local sent, allowed = {}, {}
  for _, name in ipairs(SENT_HEADERS) do
    local value = headers:get(name)
    if value then sent[#sent + 1] = quoted(name) .. ":" .. quoted(value) end
  end
  for name in pairs(models) do allowed[#allowed + 1] = quoted(name) end
  return '{"headers":{' .. table.concat(sent, ",") .. '},"path":' .. quoted(path) ..
    ',"models":[' .. table.concat(allowed, ",") .. '],"request":' .. body .. "}"
end

-- The model of the decision, or nil with the cause.
local function decided(handle, body, path, settings)
  local headers, answer = handle:httpCall("pointsman", {
    [":method"] = "POST", [":path"] = "/v1/decide", [":authority"] = "pointsman", ["content-type"] = "application/json",
  }, envelope(handle:headers(), path, body, settings.models), settings.deadline_ms)
  local status = headers and headers[":status"] or "none"
  if status == "504" then return nil, "timeout" end
  if status == "503" then return nil, "unreachable" end
  if status ~= "200" then return nil, "status" end
  -- The service writes `model` first, for readers like this one.
  local named = (answer or ""):match('^%s*{%s*"model"%s*:%s*"([^"\\]+)"')
  if not named then return nil, "garbage" end
  local model = settings.models[named]
  if not model then return nil, "unknown_model" end
  return model, nil, answer:match('"decision_id"%s*:%s*"([%w%-]+)"')
end

-- As `decided`, where a filter before this one asked: ext_authz leaves its answer in headers.
local function decided_before(headers, settings)
  local named = headers:get("x-pointsman-model")
  if not named then return nil, "unreachable" end
  local model = settings.models and settings.models[named]
  if not model then return nil, "unknown_model" end
  return model, nil, headers:get("x-pointsman-decision-id")
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path"):gsub("?.*", "")
  if handle:headers():get(":method") ~= "POST" or not TURN_PATHS[path] then return end
  -- Behind ext_proc there is only to do what its processor left undone.
  if handle:streamInfo():dynamicMetadata():get("pointsman") then return end
  local settings = handle:metadata()
  local asked_before = settings:get("asked_before")
  settings = { models = settings:get("models"), safe_model = settings:get("safe_model"), deadline_ms = settings:get("deadline_ms") }
  local buffer = handle:body()
  local body = buffer and buffer:getBytes(0, buffer:length()) or ""
  local model, failure, decision_id
  if handle:headers():get("content-encoding") then
    failure = "unread"
  elseif asked_before then
    model, failure, decision_id = decided_before(handle:headers(), settings)
  else
    model, failure, decision_id = decided(handle, body, path, settings)
  end
  if failure then
    model = settings.safe_model
    handle:logWarn("no decision (" .. failure .. "), so " .. model .. " takes the request")
  end
  local first, last = find_model(body)
  if first and failure ~= "unread" then
    local changed = body:sub(1, first - 1) .. quoted(model) .. body:sub(last + 1)
    -- The buffer from before the call is no longer ours.
    handle:headers():replace("content-length", tostring(handle:body():setBytes(changed)))
  end
  -- A route may choose by this header, where a model has an address of its own.
  handle:headers():replace("x-pointsman-model", model)
  handle:clearRouteCache()
  handle:streamInfo():dynamicMetadata():set("pointsman", "model", model)
  handle:streamInfo():dynamicMetadata():set("pointsman", "failure", failure or "")
  handle:streamInfo():dynamicMetadata():set("pointsman", "decision_id", decision_id or "")
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
