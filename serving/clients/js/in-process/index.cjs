// Decides in JavaScript, without a service: the bundle that Python runs, and the figures of catalogue and policy that
// `pointsman pack` writes beside it. Takes digests, not whole bodies: reading every client's format is the service's.
"use strict";

const { createHash, randomUUID } = require("node:crypto");
const { readFile } = require("node:fs/promises");
const { join } = require("node:path");

const { boundedName } = require("../names.cjs");
const { Assessor } = loaded("./assess.cjs");
const { Chooser, heard } = require("./choose.cjs");
const { Texts } = require("./texts.cjs");

const BUNDLE_FORMAT = 2;
const ROUTING_FORMAT = 1;
// As `MemorySessions` of classifier/session.py.
const TTL_S = 6 * 3600;
// As in classifier/story.py.
const DISTINCT_CHARS = 200;
const WISH = /(?<!\S)@(model|policy):([\p{L}\p{N}_./:@+-]{1,120}[\p{L}\p{N}_+])/gu;

/** The pack is missing, altered, or of a newer format. */
class PackError extends Error {
  name = "PackError";
}

class Router {
  #assessor; #routing; #heads; #texts; #chooser; #sessions; #clock;
  #nFailures = 0;
  #onFailure;

  constructor(assessor, manifest, routing, { maxSessions = 100_000, clock = () => Date.now() / 1000, onFailure } = {}) {
    this.#assessor = assessor;
    this.#routing = routing;
    this.#heads = manifest.heads;
    this.#texts = new Texts(routing.texts);
    this.#chooser = new Chooser(routing);
    this.#sessions = new Sessions(maxSessions, routing.n_recent, clock);
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** Verify and load the folder that `pointsman pack` wrote. */
  static async load(folder, options = {}) {
    const { manifest, routing, files } = await readPack(folder);
    return new Router(await Assessor.open(files, manifest, options), manifest, routing, options);
  }

  /** How often the classifier failed; each time the safe default was taken. */
  get nFailures() {
    return this.#nFailures;
  }

  /** Assess a digest without choosing anything. */
  async classify(digest) {
    const assessment = await this.#assessor.assess(this.#texts.input(this.#texts.read(digest)));
    return { ...this.#answered(assessment), novelty: assessment.novelty };
  }

  /** Decide a digest; never rejects on what it holds. */
  async decide(digest, { models, policy: asked } = {}) {
    const started = performance.now();
    const turn = this.#texts.read(digest);
    const question = this.#question(turn, models, asked);
    const sessionId = boundedName(digest?.session_id);
    // Without a session turns are not linked to each other, yet the same words again are the same turn.
    const place = sessionId ?? (typeof digest?.prompt === "string" ? `anon:${question.key}` : null);
    const known = this.#known(question, place);
    if (known) return known;
    const assessment = turn.prompt ? await this.#assess(turn) : null;
    // Another request of the same turn may have been decided during the wait.
    return this.#known(question, place) ?? this.#settle(turn, assessment, question, { sessionId, place }, started);
  }

  /** Free the graph. */
  async close() {
    await this.#assessor.close();
  }

  async #assess(turn) {
    try {
      return await this.#assessor.assess(this.#texts.input(turn));
    } catch (error) {
      this.#nFailures += 1;
      this.#onFailure?.(error);
      return null;
    }
  }

  #question(turn, models, asked) {
    const notes = [];
    const own = this.#routing.policies[this.#routing.policy];
    const wishes = Object.fromEntries(Array.from(turn.prompt.matchAll(WISH), ([, kind, name]) => [kind, name]));
    if (Object.keys(wishes).length && !own.user_override) {
      notes.push("override_off");
      delete wishes.model;
      delete wishes.policy;
    }
    const name = this.#policyName(wishes.policy, asked, notes);
    let wanted = wishes.model;
    if (wanted !== undefined && !this.#chooser.knows(wanted)) {
      notes.push("explicit_model_unknown");
      wanted = undefined;
    }
    // Clients wrap lines anew when they send a message again. Hashed: a session keeps no words.
    const key = sha256(JSON.stringify([turn.prompt, turn.context]).replace(/(?:\s|\\[nrt])+/g, " "));
    const limits = { models: models && [...models].sort(), wanted };
    return { key, asking: JSON.stringify([key, name, limits]), policy: this.#routing.policies[name], limits, notes };
  }

  #policyName(wished, asked, notes) {
    for (const name of [wished, asked]) {
      if (name !== undefined && Object.hasOwn(this.#routing.policies, name)) {
        notes.push("explicit_policy");
        return name;
      }
      if (name !== undefined) notes.push("explicit_policy_unknown");
    }
    return this.#routing.policy;
  }

  #known({ asking }, place) {
    return this.#sessions.get(place)?.recent.get(asking);
  }

  #settle(turn, assessment, question, { sessionId, place }, started) {
    const { policy, limits } = question;
    const kept = this.#sessions.get(place);
    // Without a session the same words may be another person's: of theirs only the answers are kept.
    const state = sessionId || isDistinct(turn.context) ? kept : kept && { recent: kept.recent };
    const now = this.#clock();
    const isUnderWay = state?.model !== undefined && state.turnKey === question.key;
    const read = isUnderWay ? state.assessment : assessment;
    let choice;
    if (isUnderWay) choice = this.#chooser.keep(turn, state, policy, limits);
    else if (assessment) choice = this.#chooser.choose(turn, assessment, state, policy, limits, now);
    else choice = this.#chooser.chooseDefault(turn, policy, limits);
    const decision = this.#decision(turn, choice, read, question, sessionId, started);
    if (place) {
      const went = { ...state, model: choice.model, decision, contextTokens: turn.context_tokens, updatedAt: now };
      // Without a prompt no turn begins: the session learns nothing but the answer itself.
      const after = isUnderWay ? went : turn.prompt ? this.#begun(went, state, assessment, question) : (state ?? {});
      this.#sessions.put(place, after, question.asking, decision);
    }
    return decision;
  }

  #begun(went, state, assessment, { key, policy }) {
    let [nCorrections, corrections] = [0, state?.corrections ?? {}];
    if (assessment) {
      const stage = this.#chooser.stage(assessment, policy);
      const before = { model: state?.model, nCorrections: state?.nCorrections ?? 0, corrections };
      [nCorrections, corrections] = heard(before, stage, assessment.turn[2]);
    }
    return { ...went, turnKey: key, assessment, nCorrections, corrections };
  }

  #decision(turn, choice, assessment, { policy, notes }, sessionId, started) {
    const codes = [...new Set([...choice.codes, ...notes])];
    const none = Object.fromEntries(Object.keys(this.#heads).map((head) => [head, null]));
    return {
      model: choice.model,
      provider: choice.provider,
      effort: choice.effort,
      fallbacks: choice.fallbacks,
      decision_id: randomUUID().replaceAll("-", ""),
      kind: "task",
      ...(assessment ? this.#answered(assessment) : none),
      novelty: assessment ? assessment.novelty : null,
      context_tokens: turn.context_tokens,
      expected_cost: choice.expected_cost,
      excluded: choice.excluded,
      stakes: choice.stakes,
      reasons: codes.map((code) => this.#routing.reasons[code]),
      codes,
      sticky: choice.sticky,
      session_id: sessionId,
      model_version: this.#assessor.version,
      policy_version: policy.version,
      catalog_version: this.#routing.catalog_version,
      latency_ms: performance.now() - started,
    };
  }

  #answered(assessment) {
    const heads = Object.entries(this.#heads).map(([head, labels]) => {
      const values = assessment[head];
      const probability = Math.max(...values);
      const probabilities = Object.fromEntries(labels.map((label, i) => [label, values[i]]));
      return [head, { label: labels[values.indexOf(probability)], probability, probabilities }];
    });
    return Object.fromEntries(heads);
  }
}

/** States by session, in memory: bounded, the least recently used forgotten first, and after `TTL_S` in any case. */
class Sessions {
  #states = new Map();
  #most; #nRecent; #clock;

  constructor(most, nRecent, clock) {
    this.#most = most;
    this.#nRecent = nRecent;
    this.#clock = clock;
  }

  get(place) {
    const state = place ? this.#states.get(place) : undefined;
    return state && this.#clock() - state.keptAt <= TTL_S ? state : undefined;
  }

  put(place, state, asking, decision) {
    const recent = new Map([...(state.recent ?? []), [asking, decision]].slice(-this.#nRecent));
    const keptAt = this.#clock();
    this.#states.delete(place);
    this.#states.set(place, { nCorrections: 0, corrections: {}, ...state, recent, keptAt });
    // Oldest first: whatever has expired stands at the front.
    for (const [oldest, { keptAt: at }] of this.#states) {
      if (this.#states.size <= this.#most && keptAt - at <= TTL_S) return;
      this.#states.delete(oldest);
    }
  }
}

/** Say whether a context holds so much of what the assistant said that no other conversation gives it. */
function isDistinct(context) {
  const said = context.filter(({ role }) => role === "assistant").map(({ text }) => text);
  return Array.from(said.join("")).length >= DISTINCT_CHARS;
}

function loaded(path) {
  try {
    return require(path);
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
    const libraries = "onnxruntime-node @huggingface/tokenizers";
    throw new Error(`a library is missing; expected ${libraries}. Run: npm install --ignore-scripts ${libraries}`, { cause: error });
  }
}

async function readPack(folder) {
  const files = {};
  const read = async (name) => {
    try {
      files[name] = await readFile(join(folder, name));
    } catch (error) {
      throw new PackError(`${name} is missing in '${folder}' (${error.code}). Write the folder: pointsman pack --output ${folder}.`);
    }
    return files[name];
  };
  const raw = await read("manifest.json");
  const [manifest, routing] = [parsed(raw, "manifest.json"), parsed(await read("routing.json"), "routing.json")];
  expectFormat("the bundle", manifest.format, BUNDLE_FORMAT);
  expectFormat("routing.json", routing.format, ROUTING_FORMAT);
  if (sha256(raw) !== routing.bundle_digest) {
    throw new PackError("routing.json was written for another bundle. Write both again: pointsman pack.");
  }
  for (const [name, digest] of Object.entries(manifest.digests)) {
    const found = sha256(await read(name));
    if (found !== digest) {
      throw new PackError(`${name}: sha256 is ${found.slice(0, 12)}..., the manifest says ${digest.slice(0, 12)}.... Write the pack again.`);
    }
  }
  return { manifest, routing, files };
}

function parsed(raw, name) {
  try {
    return JSON.parse(raw.toString("utf8"));
  } catch {
    throw new PackError(`${name} is no JSON. Write the pack again: pointsman pack.`);
  }
}

function expectFormat(what, found, most) {
  if (!(found >= 1 && found <= most)) {
    throw new PackError(`${what} has format ${found}; this package reads 1 to ${most}. Use the versions that belong together.`);
  }
}

function sha256(data) {
  return createHash("sha256").update(data).digest("hex");
}

module.exports = { PackError, Router };
