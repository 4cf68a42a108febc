// A "Node.js script" rule of claude-code-router 3.x that asks Pointsman. In its settings: Routing, new rule, script, this
// file, timeout 1000 ms (more than the deadline below), no target. Let the default model be the safe one: it takes what
// nobody decided.
//
// The router runs this as the body of an async function with `input` and `api`, and nothing else. What is thrown here it
// counts and shows as the rule's diagnostics; after three in a minute it does not ask for 30 s.
const SETTINGS = {
  "url": "http://127.0.0.1:8095",
  "deadlineMs": 250,
  "models": {
    "claude-opus-5-5": "anthropic/claude-opus-5-5",
    "claude-haiku-5-5": "anthropic/claude-haiku-5-5"
  }
};

// The service's API key, where it asks for one: POINTSMAN_KEY in the router's environment, or a "key" in SETTINGS.
const KEY = (SETTINGS.key ?? api.env("POINTSMAN_KEY") ?? "").trim();

// The models of the last turns, for when the service is away, and under `kept` how often that was so, by cause. Each run
// begins anew, so they stand in a file. Where two runs meet, one may forget.
const TURNS = "~/.claude-code-router/pointsman-turns.json";
const MAX_TURNS = 200;
// The router's own limit is 256 KiB.
const MAX_BYTES = 240 * 1024;
const SENT_FIELDS = [
  "model", "messages", "input", "system", "instructions", "tools", "stream", "max_tokens", "max_completion_tokens",
  "max_output_tokens", "thinking", "reasoning", "reasoning_effort", "output_config", "output_format",
  "response_format", "text", "prompt_cache_key", "client_metadata",
];
const SESSION_HEADERS = [
  "x-pointsman-session", "x-claude-code-session-id", "session-id", "thread-id", "x-session-id", "x-session-affinity",
];
const AGENT_HEADER = "x-claude-code-agent-id";
const SENT_HEADERS = [...SESSION_HEADERS, AGENT_HEADER, "x-openai-subagent", "anthropic-version", "anthropic-beta"];

const { body, headers } = input;
const path = (input.url ?? "/v1/messages").split("?")[0];
// Token counts, what the person chose by hand, and models that a subagent's prompt names go where they would go.
const system = Array.isArray(body.system) ? body.system : [];
const isTagged = input.builtInSubagentModel || system.some((part) => part?.text?.startsWith?.("<CCR-SUBAGENT-MODEL>"));
if (isTagged || /[,/]/.test(body.model ?? "") || /count_tokens/.test(path)) return null;

const cut = (text, length) => (typeof text === "string" ? text.slice(0, length) : text);
const size = (text) => text.length + (text.match(/[^\x00-\x7f]/g) ?? []).length * 2;

function withoutSecrets(tool) {
  if (!tool || typeof tool !== "object") return tool;
  const { authorization, authorization_token, headers: secret, ...rest } = tool;
  return rest;
}

// What a person wrote stays whole, so that the turn keeps its key; of the rest the shape stays.
function reducedPart(part, role) {
  if (typeof part === "string") return role === "user" ? part : cut(part, 600);
  if (!part || typeof part !== "object") return part;
  switch (part.type) {
    case "text": case "input_text": case "output_text":
      return { type: part.type, text: role === "user" ? part.text : cut(part.text, 600) };
    case "tool_use": return { type: part.type, id: part.id, name: part.name, input: {} };
    case "tool_result": return { type: part.type, tool_use_id: part.tool_use_id, is_error: part.is_error, content: "" };
    case "function_call_output": case "custom_tool_call_output": return { ...part, output: "" };
    case "function_call": return { ...part, arguments: "{}" };
    case "thinking": case "redacted_thinking": case "reasoning": return { type: part.type };
    default: return { type: part.type };
  }
}

function reducedMessage(message) {
  if (!message || typeof message !== "object" || !("content" in message)) return reducedPart(message);
  const { role, type, content } = message;
  if (role === "tool") return { ...message, content: "" };
  const parts = Array.isArray(content) ? content.map((part) => reducedPart(part, role)) : reducedPart(content, role);
  return { type, role, content: parts, tool_calls: message.tool_calls ? [] : undefined };
}

function reduced(whole) {
  const part = { ...whole };
  for (const name of ["messages", "input"]) if (Array.isArray(part[name])) part[name] = part[name].map(reducedMessage);
  if (Array.isArray(part.tools)) part.tools = part.tools.map((tool) => ({ type: tool?.type, name: tool?.name ?? tool?.function?.name }));
  if (Array.isArray(part.system)) part.system = part.system.map((block) => ({ type: "text", text: cut(block?.text, 2000) }));
  for (const name of ["system", "instructions"]) part[name] = cut(part[name], 2000);
  return part;
}

const asked = { models: Object.keys(SETTINGS.models), path, session_id: input.sessionId, headers: {} };
for (const [name, value] of Object.entries(headers ?? {})) {
  const known = name.toLowerCase().replaceAll("_", "-");
  if (SENT_HEADERS.includes(known) && typeof value === "string") asked.headers[known] = value;
}
const part = {};
for (const name of SENT_FIELDS) if (body[name] !== undefined) part[name] = body[name];
if (Array.isArray(part.tools)) part.tools = part.tools.map(withoutSecrets);
for (const name of ["user_id", "session_id"]) {
  if (typeof body.metadata?.[name] === "string") part.metadata = { ...part.metadata, [name]: body.metadata[name] };
}
let content = JSON.stringify({ request: part, ...asked });
// A body that was cut no longer says how long it was.
const counted = { ...asked, context_tokens: input.tokenCount || undefined };
if (size(content) > MAX_BYTES) content = JSON.stringify({ request: reduced(part), ...counted });
if (size(content) > MAX_BYTES) content = JSON.stringify({ request: { prompt: input.summary?.lastUserText ?? "" }, ...counted });

function refusal(status) {
  return `status: ${status}, as the service decides only for an API key with the role decide, and ` +
    `${KEY ? "refuses the one that is set here" : "none is set here"}; make one with 'pointsman keys create NAME ` +
    "--role decide' and set it as POINTSMAN_KEY in the router's environment, or as \"key\" in this script's SETTINGS";
}

async function decided() {
  if (/[^!-~]/.test(KEY)) throw new Error("error: the key is not printable ASCII, as 'pointsman keys create' prints it");
  const answer = await api.fetch(`${SETTINGS.url}/v1/decide`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(KEY ? { "x-pointsman-key": KEY } : {}) },
    body: content,
  }).catch(() => { throw new Error("unreachable: no connection, or no answer in HTTP"); });
  if (answer.status === 401 || answer.status === 403) throw new Error(refusal(answer.status));
  if (answer.status !== 200) throw new Error(`status: ${answer.status}`);
  let decision;
  try {
    decision = JSON.parse(answer.body);
  } catch {
    throw new Error("garbage: the answer is no JSON");
  }
  if (typeof decision?.model !== "string") throw new Error("garbage: the answer names no model");
  if (!Object.hasOwn(SETTINGS.models, decision.model)) throw new Error("unknown_model: it is not configured here");
  return decision;
}

// There is no setTimeout here: a wait that nobody ends is one.
const late = () => Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SETTINGS.deadlineMs).value.then(() => {
  throw new Error(`timeout: none within ${SETTINGS.deadlineMs} ms`);
});

function sessionOf() {
  const named = SESSION_HEADERS.map((name) => asked.headers[name]).find(Boolean) ?? input.sessionId;
  if (named) return named;
  const { user_id: user, session_id: session } = part.metadata ?? {};
  try {
    return JSON.parse(user).session_id;
  } catch {
    return session ?? body.prompt_cache_key ?? body.client_metadata?.session_id;
  }
}

function agentOf() {
  const { "thread-id": thread, "session-id": parent } = asked.headers;
  return asked.headers[AGENT_HEADER] ?? (thread && parent && thread !== parent ? thread : "");
}

/** Say whether the request only carries a tool's result; behind it stands a turn that some model began. */
function isToolLoop() {
  const items = Array.isArray(body.messages) ? body.messages : Array.isArray(body.input) ? body.input : [];
  const last = items.findLast((item) => item && !["system", "developer"].includes(item.role));
  if (!last) return false;
  if (last.role === "tool" || /_call_output$/.test(last.type ?? "")) return true;
  if (last.role !== "user" || !Array.isArray(last.content)) return false;
  const saidMore = last.content.some((item) => item?.type === "text" && !/^\s*<system-reminder>/.test(item.text ?? ""));
  return !saidMore && last.content.some((item) => item?.type === "tool_result");
}

const session = sessionOf();
const key = typeof session === "string" && session ? `${session}\n${agentOf()}`.slice(0, 500) : null;
const memory = await api.fs.readJson(TURNS).catch(() => null);
const turns = Array.isArray(memory?.turns) ? memory.turns : [];
const kept = memory?.kept ?? {};
const known = turns.find((turn) => turn.key === key);

async function remember(turn) {
  const others = turns.filter((other) => other.key !== key);
  // Without the router's folder, or with a full disk, nothing is remembered.
  await api.fs.writeJson(TURNS, { turns: [...others, turn].slice(-MAX_TURNS), kept }).catch(() => {});
}

try {
  const decision = await Promise.race([decided(), late()]);
  const model = SETTINGS.models[decision.model];
  if (!key || decision.kind === "background") return { model };
  // A turn that the default model carried while the service was away stays on it.
  if (known?.isSafe && decision.kind === "tool_loop") return null;
  if (known?.model !== model || known.isSafe) await remember({ key, model, isSafe: false });
  return { model };
} catch (error) {
  const cause = error.message.split(":")[0];
  if (key && known && isToolLoop()) {
    kept[cause] = (kept[cause] ?? 0) + 1;
    await remember(known);
    return known.isSafe ? null : { model: known.model };
  }
  // Without tools it is a title or the like, and begins no turn.
  if (key && body.tools?.length) await remember({ key, isSafe: true });
  throw new Error(`no decision (${error.message})`);
}
