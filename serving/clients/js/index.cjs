// Asks the service from JavaScript: an answer comes within the deadline, or the safe model does. No dependencies.
//
// Credentials never travel: of the headers only those that name session and agent are sent on, and of the body only
// what routing reads. The manners are those of the Python client (serving/fail_open.py); a test holds the lists together.
"use strict";

const { boundedName } = require("./names.cjs");

const FAILURES = Object.freeze(["timeout", "unreachable", "status", "garbage", "unknown_model", "error"]);
const SENT_FIELDS = Object.freeze([
  "model", "messages", "input", "system", "instructions", "tools", "stream", "max_tokens", "max_completion_tokens",
  "max_output_tokens", "thinking", "reasoning", "reasoning_effort", "output_config", "output_format",
  "response_format", "text", "prompt_cache_key", "client_metadata", "prompt", "context", "context_tokens", "session_id",
]);
const SESSION_HEADERS = Object.freeze([
  "x-pointsman-session", "x-claude-code-session-id", "session-id", "thread-id", "x-session-id", "x-session-affinity",
]);
const AGENT_HEADER = "x-claude-code-agent-id";
const SENT_HEADERS = Object.freeze([
  ...SESSION_HEADERS, AGENT_HEADER, "x-openai-subagent", "anthropic-version", "anthropic-beta",
]);
// The service's own key; never one that a client sent.
const KEY_HEADER = "x-pointsman-key";
const TOOL_SECRETS = ["authorization", "authorization_token", "headers"];
const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_SESSIONS = 10_000;
const FEEDBACK_TIMEOUT_MS = 15_000;
const ADVISED_EVERY_MS = 3600 * 1000;

class NoDecision extends Error {
  constructor(failure, detail = "") {
    super(detail ? `${failure}: ${detail}` : failure);
    this.failure = failure;
  }
}

class Client {
  #url; #safeModel; #names; #policy; #deadlineMs; #log; #ownHeaders;
  #counts = {};
  #advisedAt = -Infinity;
  // Session and agent -> the model of its turn, and whether it is only the safe one.
  #models = new Map();

  constructor({ url = "http://127.0.0.1:8095", safeModel, models, policy, key, deadlineMs = 250, log = console.warn } = {}) {
    if (typeof safeModel !== "string" || !safeModel) throw new TypeError("safeModel must be a model's name; set it.");
    if (!(deadlineMs > 0)) throw new TypeError(`deadlineMs must be > 0, got ${deadlineMs}; 250 is the default.`);
    if (models != null && typeof models !== "object") throw new TypeError("models must be a list or an object of names.");
    if (key && !/^[!-~]+$/.test(key)) {
      throw new TypeError("key must be printable ASCII, as 'pointsman keys create' prints it. Check where it is read from.");
    }
    this.#url = String(url).replace(/\/+$/, "");
    this.#safeModel = safeModel;
    this.#names = Array.isArray(models) ? Object.fromEntries(models.map((name) => [name, name])) : (models ?? null);
    this.#policy = policy;
    this.#ownHeaders = { "content-type": "application/json", ...(key ? { [KEY_HEADER]: key } : {}) };
    this.#deadlineMs = deadlineMs;
    this.#log = log;
  }

  /** How often a decision came (`decided`), and how often none did, by cause. */
  get counts() {
    return { ...this.#counts };
  }

  /** Say which model takes a request; never rejects, and never later than the deadline. */
  async decide(body, { headers = {}, path, sessionId } = {}) {
    const request = { body: asObject(body), headers: knownHeaders(headers), path, sessionId };
    try {
      return this.#accept(request, await this.#ask(request));
    } catch (error) {
      return this.#fail(request, asFailure(error));
    }
  }

  /** Tell how a decision went; resolves with the feedback's id once it is stored, rejects when it is not. */
  async feedback(decisionId, outcome, fields = {}) {
    const answer = await fetch(`${this.#url}/v1/feedback`, {
      method: "POST",
      headers: this.#ownHeaders,
      body: JSON.stringify({ decision_id: decisionId, outcome, ...fields }),
      signal: AbortSignal.timeout(FEEDBACK_TIMEOUT_MS),
    });
    if (!answer.ok) throw new Error(`feedback was refused with ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
    return (await answer.json()).feedback_id;
  }

  async #ask({ body, headers, path, sessionId }) {
    const envelope = {
      request: readablePart(body), headers, path, session_id: sessionId,
      models: this.#names ? Object.keys(this.#names).sort() : undefined, policy: this.#policy,
    };
    const answer = await fetch(`${this.#url}/v1/decide`, {
      method: "POST",
      headers: this.#ownHeaders,
      body: JSON.stringify(envelope),
      redirect: "manual",
      signal: AbortSignal.timeout(this.#deadlineMs),
    });
    if (answer.status !== 200) {
      await answer.body?.cancel();
      if (answer.status === 401 || answer.status === 403) this.#advise(answer.status);
      throw new NoDecision("status", String(answer.status));
    }
    return parsed(await readBounded(answer));
  }

  #accept(request, decision) {
    const named = decision?.model;
    if (typeof named !== "string" || !named) throw new NoDecision("garbage", "the answer names no model");
    if (this.#names && !Object.hasOwn(this.#names, named)) {
      throw new NoDecision("unknown_model", "the answer names a model that is not configured here");
    }
    const model = this.#names ? this.#names[named] : named;
    this.#count("decided");
    if (decision.kind === "background") return { model, decision, failure: null, kept: false };
    const key = keyOf(request);
    const known = key && this.#models.get(key);
    if (known?.isSafe && decision.kind === "tool_loop") {
      return { model: known.model, decision, failure: null, kept: true };
    }
    this.#remember(key, { model, isSafe: false });
    return { model, decision, failure: null, kept: false };
  }

  #fail(request, { failure, message }) {
    const { body } = request;
    const key = keyOf(request);
    const known = isToolLoop(body) && key ? this.#models.get(key) : undefined;
    const model = known?.model ?? this.#safeModel;
    // Without tools it is a title or the like, and begins no turn.
    if (!known && body.tools?.length) this.#remember(key, { model, isSafe: true });
    this.#count(failure);
    this.#log(`no decision (${message}), so ${model} takes the request`);
    return { model, decision: null, failure, kept: known !== undefined };
  }

  /** Say what to do about a service that refuses the key, once an hour. */
  #advise(status) {
    if (performance.now() - this.#advisedAt < ADVISED_EVERY_MS) return;
    this.#advisedAt = performance.now();
    const found = KEY_HEADER in this.#ownHeaders ? "refuses the one it got" : "got none";
    this.#log(
      `Pointsman answers ${status}: it decides only for an API key with the role decide, and ${found}. Make one with ` +
        "'pointsman keys create NAME --role decide' and give it as `key`, which gateways read from POINTSMAN_KEY.",
    );
  }

  #count(name) {
    this.#counts[name] = (this.#counts[name] ?? 0) + 1;
  }

  #remember(key, entry) {
    if (!key) return;
    this.#models.delete(key);
    this.#models.set(key, entry);
    if (this.#models.size > MAX_SESSIONS) this.#models.delete(this.#models.keys().next().value);
  }
}

function asFailure(error) {
  if (error instanceof NoDecision) return error;
  if (error?.name === "TimeoutError") return new NoDecision("timeout", "none came in time");
  // fetch says "TypeError: fetch failed" with the socket's error as its cause.
  const code = error?.cause?.code ?? error?.code;
  if (error?.cause || code) return new NoDecision("unreachable", String(code ?? error.cause.name));
  return new NoDecision("error", error?.name ?? "unknown");
}

async function readBounded(answer) {
  const chunks = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new NoDecision("garbage", "the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new NoDecision("garbage", "the answer is no JSON");
  }
}

function asObject(body) {
  if (typeof body !== "string") return body ?? {};
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
}

function readablePart(whole) {
  const part = {};
  for (const name of SENT_FIELDS) if (whole[name] !== undefined) part[name] = whole[name];
  if (Array.isArray(part.tools)) part.tools = part.tools.map(withoutSecrets);
  if (whole.metadata && typeof whole.metadata === "object") {
    part.metadata = {};
    for (const name of ["user_id", "session_id"]) {
      if (typeof whole.metadata[name] === "string") part.metadata[name] = whole.metadata[name];
    }
  }
  return part;
}

function withoutSecrets(tool) {
  if (!tool || typeof tool !== "object" || !TOOL_SECRETS.some((name) => name in tool)) return tool;
  return Object.fromEntries(Object.entries(tool).filter(([name]) => !TOOL_SECRETS.includes(name)));
}

function knownHeaders(headers) {
  const pairs = typeof headers?.forEach === "function" ? [...headers] : Object.entries(headers ?? {});
  const lowered = pairs.map(([name, value]) => [name.toLowerCase().replaceAll("_", "-"), value]);
  return Object.fromEntries(lowered.filter(([name, value]) => SENT_HEADERS.includes(name) && typeof value === "string"));
}

/** Session and agent of a request, as the service names them; null where nothing names the session. */
function keyOf({ body, headers, sessionId }) {
  const inHeaders = SESSION_HEADERS.map((name) => headers[name]);
  const { metadata, prompt_cache_key: cacheKey, client_metadata: client } = body;
  const inBody = [userSession(metadata?.user_id), metadata?.session_id, cacheKey, client?.session_id, body.session_id];
  const session = [sessionId, ...inHeaders, ...inBody].map(boundedName).find(Boolean);
  return session ? `${session}\n${agentOf(headers)}` : null;
}

/** A subagent: Claude Code names it, one of Codex has a thread of its own in its parent's session. */
function agentOf(headers) {
  const [agent, thread, parent] = [AGENT_HEADER, "thread-id", "session-id"].map((name) => boundedName(headers[name]));
  return agent ?? (thread && parent && thread !== parent ? thread : "");
}

function userSession(userId) {
  if (typeof userId !== "string") return undefined;
  if (!userId.trimStart().startsWith("{")) return /^user_.*_session_(.*)$/s.exec(userId)?.[1];
  try {
    return JSON.parse(userId)?.session_id;
  } catch {
    return undefined;
  }
}

/** Say whether a request only carries a tool's result; behind it stands a turn that some model began. */
function isToolLoop(body) {
  const items = Array.isArray(body.messages) ? body.messages : Array.isArray(body.input) ? body.input : [];
  const last = items.findLast((item) => item && !["system", "developer"].includes(item.role));
  if (!last) return false;
  if (last.role === "tool" || /_call_output$/.test(last.type ?? "")) return true;
  if (last.role !== "user" || !Array.isArray(last.content)) return false;
  const saidMore = last.content.some((part) => part?.type === "text" && !/^\s*<system-reminder>/.test(part.text ?? ""));
  return !saidMore && last.content.some((part) => part?.type === "tool_result");
}

module.exports = { Client, FAILURES, SENT_FIELDS, SENT_HEADERS };
