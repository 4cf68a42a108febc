-- Stands between Envoy's ext_authz filter and Pointsman, in the cluster: it hands the service's API key over, out of the
-- environment that Envoy was started with. ext_authz takes every 4xx for a refusal of the client's request; what the
-- service refuses is the gateway, so that reads as 503 here, and failure_mode_allow lets the request pass.

local KEY = (os.getenv("POINTSMAN_KEY") or ""):match("^%s*(.-)%s*$")
if KEY:find("[^\33-\126]") then
  error("POINTSMAN_KEY: expected printable ASCII, as 'pointsman keys create' prints it. Check where it is set.", 0)
end

local ADVISED_EVERY_S = 3600
local advised_at

function envoy_on_request(handle)
  if KEY ~= "" then handle:headers():replace("x-pointsman-key", KEY) end
end

local function advise(handle, status)
  if advised_at and os.time() - advised_at < ADVISED_EVERY_S then return end
  advised_at = os.time()
  handle:logWarn(
    "Pointsman answers " .. status .. ": it decides only for an API key with the role decide, and " ..
    (KEY ~= "" and "refuses the one in POINTSMAN_KEY" or "POINTSMAN_KEY is not set") ..
    ". Make one with 'pointsman keys create NAME --role decide', export it as POINTSMAN_KEY where the gateway starts, " ..
    "and start the gateway again."
  )
end

function envoy_on_response(handle)
  local status = handle:headers():get(":status") or ""
  if status == "401" or status == "403" then advise(handle, status) end
  if status:find("^4") then handle:headers():replace(":status", "503") end
end
