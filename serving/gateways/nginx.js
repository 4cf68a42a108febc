// nginx asks Pointsman before it passes a message on. Settings are the js_var lines of nginx.conf.
//
// The body is not parsed: it goes into the envelope as it is, and only its model is replaced.

const SENT_HEADERS = [
  "x-pointsman-session", "x-claude-code-session-id", "x-claude-code-agent-id", "session-id", "thread-id",
  "x-session-id", "x-session-affinity", "x-openai-subagent", "anthropic-version", "anthropic-beta",
];
const MODEL_FIRST = /^(\s*\{\s*"model"\s*:\s*)"(?:[^"\\]|\\.)*"/;

async function route(r) {
  const variables = r.variables;
  let model = variables.pointsman_safe_model;
  try {
    if (r.headersIn["Content-Encoding"]) throw new Error("unread: the body is packed");
    const decision = await asked(r);
    model = named(decision, JSON.parse(variables.pointsman_models));
    variables.pointsman_decision_id = decision.decision_id;
  } catch (error) {
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
  // Not ngx.fetch: in njs 0.7.9 it ends the worker. The deadline is the location's.
  const answer = await r.subrequest("/_decide", { method: "POST", body: `{"request":${r.requestText},${rest}` });
  if (answer.status === 504) throw new Error("timeout: none came in time");
  if (answer.status === 502) throw new Error("unreachable: no connection, or no answer in HTTP");
  if (answer.status !== 200) throw new Error(`status: ${answer.status}`);
  try {
    return JSON.parse(answer.responseText);
  } catch (error) {
    throw new Error("garbage: the answer is no JSON");
  }
}

function named(decision, models) {
  if (!decision || typeof decision.model !== "string") throw new Error("garbage: the answer names no model");
  const model = models[decision.model];
  if (typeof model !== "string") throw new Error("unknown_model: the answer names a model that is not configured here");
  return model;
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

export default { route };
