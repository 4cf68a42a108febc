// claude-code-router asks this module for every message (its CUSTOM_ROUTER_PATH). Settings stand under "POINTSMAN" in
// its config.json; for versions without such a file, the environment's POINTSMAN_CCR_SETTINGS names a JSON file of them.
// The service's API key, where it asks for one: POINTSMAN_KEY in the router's environment, or `key` in the settings.
//
// Models are named as the router names them: "provider,model" in 2.x, "provider/model" in 3.x.
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

// Where somebody put the client's index.cjs (under this name) and names.cjs beside this file, else where the package
// holds them.
const { Client } = load(join(__dirname, "pointsman-client.cjs"), join(__dirname, "..", "clients", "js", "index.cjs"));

// The router may load this module anew for each request; what is under way must outlive that.
const clients = (globalThis[Symbol.for("pointsman.clients")] ??= new Map());

module.exports = async function route(request, config) {
  const log = (message) => (request.log?.warn ? request.log.warn(message) : console.warn(message));
  try {
    if (isLeftAlone(request)) return null;
    const client = clientFor(settingsIn(config), log);
    const path = (request.url ?? "/v1/messages").split("?")[0];
    return (await client.decide(request.body, { headers: request.headers, path })).model;
  } catch (error) {
    // Only settings can be wrong here: the client itself always answers.
    log(`pointsman is not asked: ${error.message}`);
    return null;
  }
};

/** What the person chose by hand, token counts, and models named by a subagent's prompt go where they would go. */
function isLeftAlone({ url = "", body }) {
  const isChosen = typeof body?.model === "string" && /[,/]/.test(body.model);
  const system = Array.isArray(body?.system) ? body.system : [];
  const isTagged = system.some((part) => part?.text?.startsWith?.("<CCR-SUBAGENT-MODEL>"));
  return isChosen || isTagged || /count_tokens/.test(url);
}

function settingsIn(config) {
  const path = process.env.POINTSMAN_CCR_SETTINGS;
  const settings = config?.POINTSMAN ?? (path ? JSON.parse(readFileSync(path, "utf8")) : null);
  if (!settings) throw new Error("there is no POINTSMAN in config.json, and POINTSMAN_CCR_SETTINGS is not set.");
  if (!settings.models) throw new Error("POINTSMAN.models is missing; expected the catalogue's names to 'provider,model'.");
  return settings;
}

function clientFor(settings, log) {
  const own = { ...settings, key: keyIn(settings) };
  const name = JSON.stringify(own);
  if (!clients.has(name)) clients.set(name, new Client({ ...own, log }));
  return clients.get(name);
}

/** The key that is set, with "$NAME" for a variable, as in the router's own settings. */
function keyIn({ key = "$POINTSMAN_KEY" }) {
  const variable = /^\$\{?(\w+)\}?$/.exec(key)?.[1];
  return (variable ? process.env[variable] : key)?.trim() || undefined;
}

function load(...paths) {
  for (const path of paths) {
    try {
      return require(path);
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  throw new Error(`the client is neither at ${paths.join(" nor at ")}; put it there.`);
}
