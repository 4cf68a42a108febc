// nginx asks Pointsman before it passes a message on. Settings are the js_var lines of nginx.conf.
//
// The body is not parsed while the service answers: it goes into the envelope as it is, and only its model is replaced.
import crypto from "crypto";
import fs from "fs";

const SESSION_HEADERS = [
  "x-pointsman-session", "x-claude-code-session-id", "session-id", "thread-id", "x-session-id", "x-session-affinity",
];
const AGENT_HEADER = "x-claude-code-agent-id";
const SENT_HEADERS = SESSION_HEADERS.concat([AGENT_HEADER, "x-openai-subagent", "anthropic-version", "anthropic-beta"]);
const ADVISED_EVERY_MS = 3600 * 1000;
const MODEL_FIRST = /^(\s*\{\s*"model"\s*:\s*)"(?:[^"\\]|\\.)*"/;

async function route(r) {
  const variables = r.variables;
  let model;
  try {
    if (r.headersIn["Content-Encoding"]) throw new Error("unread: the body is packed");
    const decision = await asked(r);
    model = accepted(r, decision, named(decision, JSON.parse(variables.pointsman_models)));
    variables.pointsman_decision_id = decision.decision_id;
  } catch (error) {
    model = carried(r, variables.pointsman_safe_model);
    variables.pointsman_failure = error.message.split(":")[0];
    r.warn(`no decision (${error.message}), so ${model} takes the request`);
  }
  variables.pointsman_model = model;
  variables.llm_body = rewritten(r, model);
  r.internalRedirect(`/_llm${r.uri}${variables.is_args}${variables.args || ""}`);
}

async function asked(r) {
  const headers = {};
  SENT_HEADERS.forEach((name) => {
    if (r.headersIn[name]) headers[name] = r.headersIn[name];
  });
  const models = Object.keys(JSON.parse(r.variables.pointsman_models));
  const rest = JSON.stringify({ headers, path: r.uri, models }).slice(1);
  // Not ngx.fetch: in njs 0.7.9 it ends the worker. The deadline is the location's: a timer beside the subrequest holds
  // the request back until it fires, even cleared.
  const answer = await r.subrequest("/_decide", { method: "POST", body: `{"request":${r.requestText},${rest}` });
  if (answer.status === 504) throw new Error("timeout: none came in time");
  if (answer.status === 502) throw new Error("unreachable: no connection, or no answer in HTTP");
  if (answer.status === 401 || answer.status === 403) advise(r, answer.status);
  if (answer.status !== 200) throw new Error(`status: ${answer.status}`);
  try {
    return JSON.parse(answer.responseText);
  } catch (error) {
    throw new Error("garbage: the answer is no JSON");
  }
}

/** The service's API key, out of the environment that nginx was started with. */
function key() {
  const given = (process.env.POINTSMAN_KEY || "").trim();
  return /^[!-~]*$/.test(given) ? given : "";
}

/** Say what to do about a service that refuses the key, once an hour: a file tells all workers when it was said. */
function advise(r, status) {
  const place = `${r.variables.document_root}/key-refused`;
  try {
    if (Date.now() - Number(fs.readFileSync(place, "utf8")) < ADVISED_EVERY_MS) return;
  } catch (error) {
    // Not said yet.
  }
  try {
    fs.writeFileSync(place, String(Date.now()));
  } catch (error) {
    // Then it is said again.
  }
  const found = key() ? "refuses the one in POINTSMAN_KEY" : "POINTSMAN_KEY is not set, or is not printable ASCII";
  r.warn(
    `Pointsman answers ${status}: it decides only for an API key with the role decide, and ${found}. Make one with ` +
      "'pointsman keys create NAME --role decide', export it as POINTSMAN_KEY where nginx starts, and start nginx again.",
  );
}

function named(decision, models) {
  if (!decision || typeof decision.model !== "string") throw new Error("garbage: the answer names no model");
  const model = models[decision.model];
  if (typeof model !== "string") throw new Error("unknown_model: the answer names a model that is not configured here");
  return model;
}

/** The model of an answer; a turn that the safe model carried while the service was away stays on it. */
function accepted(r, decision, model) {
  if (decision.kind === "background") return model;
  const key = keyOf(r, decision.session_id);
  const turn = key && remembered(r, key);
  if (turn && turn.isSafe && decision.kind === "tool_loop") return turn.model;
  if (key && !(turn && turn.model === model && !turn.isSafe)) remember(r, { key, model, isSafe: false });
  return model;
}

/** The model without an answer: that of the turn under way, else the safe one. */
function carried(r, safeModel) {
  const body = parsed(r);
  const key = keyOf(r, sessionOf(body));
  const turn = key && isToolLoop(body) ? remembered(r, key) : null;
  if (turn && isConfigured(r, turn.model)) return turn.model;
  // Without tools it is a title or the like, and begins no turn.
  if (key && body.tools && body.tools.length) remember(r, { key, model: safeModel, isSafe: true });
  return safeModel;
}

function isConfigured(r, model) {
  const models = JSON.parse(r.variables.pointsman_models);
  return model === r.variables.pointsman_safe_model || Object.keys(models).some((name) => models[name] === model);
}

// What each session's turn is on: a small file each in one of 4096 places, so that they never grow. Workers share them.
// Where two sessions meet in one place, the one before is forgotten.

function remembered(r, key) {
  try {
    const turn = JSON.parse(fs.readFileSync(placeOf(r, key), "utf8"));
    return turn.key === key ? turn : null;
  } catch (error) {
    return null;
  }
}

function remember(r, turn) {
  const place = placeOf(r, turn.key);
  const fresh = `${place}.${process.pid}`;
  try {
    fs.writeFileSync(fresh, JSON.stringify(turn));
    fs.renameSync(fresh, place);
  } catch (error) {
    r.warn(`the model of a turn is not remembered: ${error.message}`);
  }
}

function placeOf(r, key) {
  return `${r.variables.document_root}/${key.slice(0, 3)}`;
}

function keyOf(r, sessionInBody) {
  const name = SESSION_HEADERS.find((header) => r.headersIn[header]);
  const session = name ? r.headersIn[name] : sessionInBody;
  if (typeof session !== "string" || !session.trim()) return null;
  return crypto.createHash("sha1").update(`${session.trim()}\n${agentOf(r)}`).digest("hex");
}

/** A subagent: Claude Code names it, one of Codex has a thread of its own in its parent's session. */
function agentOf(r) {
  const thread = r.headersIn["thread-id"];
  const isOwn = thread && r.headersIn["session-id"] && thread !== r.headersIn["session-id"];
  return r.headersIn[AGENT_HEADER] || (isOwn ? thread : "");
}

function parsed(r) {
  try {
    return JSON.parse(r.requestText) || {};
  } catch (error) {
    return {};
  }
}

function sessionOf(body) {
  const metadata = body.metadata || {};
  const client = body.client_metadata || {};
  const names = [userSession(metadata.user_id), metadata.session_id, body.prompt_cache_key, client.session_id];
  return names.find((name) => typeof name === "string" && name.trim());
}

function userSession(userId) {
  if (typeof userId !== "string") return undefined;
  if (userId.trim()[0] !== "{") return userId.split("_session_")[1];
  try {
    return JSON.parse(userId).session_id;
  } catch (error) {
    return undefined;
  }
}

/** Say whether a request only carries a tool's result; behind it stands a turn that some model began. */
function isToolLoop(body) {
  const items = Array.isArray(body.messages) ? body.messages : Array.isArray(body.input) ? body.input : [];
  const last = items.filter((item) => item && item.role !== "system" && item.role !== "developer").pop();
  if (!last) return false;
  if (last.role === "tool" || /_call_output$/.test(last.type || "")) return true;
  if (last.role !== "user" || !Array.isArray(last.content)) return false;
  const saidMore = last.content.some(
    (part) => part && part.type === "text" && !/^\s*<system-reminder>/.test(part.text || ""),
  );
  return !saidMore && last.content.some((part) => part && part.type === "tool_result");
}

function rewritten(r, model) {
  if (r.headersIn["Content-Encoding"]) return r.requestBuffer;
  const text = r.requestText;
  const quoted = JSON.stringify(model);
  if (MODEL_FIRST.test(text)) return text.replace(MODEL_FIRST, (_, before) => before + quoted);
  try {
    const body = JSON.parse(text);
    body.model = model;
    return JSON.stringify(body);
  } catch (error) {
    return text;
  }
}

export default { route, key };
