// Runs a script rule in claude-code-router's own worker, or as the worker does (`function`), or its router module as
// version 3 calls it: one question on stdin, one answer on stdout.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";

const [, , kind, file, worker] = process.argv;
const { inputs, timeoutMs } = JSON.parse(readFileSync(0, "utf8"));
const answers = [];

if (kind === "module") {
  const require = createRequire(import.meta.url);
  for (const input of inputs) {
    // The router loads it anew for each request.
    delete require.cache[require.resolve(file)];
    const logged = [];
    const log = { warn: (message) => logged.push(message), error: (message) => logged.push(message) };
    answers.push({ model: await require(file)({ ...input, log }, { Providers: [] }, { event: {} }), logged });
  }
} else if (kind === "function") {
  const AsyncFunction = (async () => {}).constructor;
  const place = (path) => path.replace(/^~/, process.env.HOME);
  const api = {
    env: (name) => process.env[name],
    fetch: async (url, options) => {
      const answer = await fetch(url, options);
      return { status: answer.status, body: await answer.text() };
    },
    fs: {
      readJson: async (path) => JSON.parse(await readFile(place(path), "utf8")),
      writeJson: (path, value) => writeFile(place(path), JSON.stringify(value)),
    },
  };
  const route = new AsyncFunction("input", "api", readFileSync(file, "utf8"));
  for (const input of inputs) {
    answers.push(await route(input, api).then((result) => ({ status: "ok", result }), ({ message }) => ({ status: "error", error: message })));
  }
} else {
  const runtime = new Worker(worker);
  const next = () => new Promise((resolve) => runtime.once("message", resolve));
  await next();
  const script = { source: readFileSync(file, "utf8"), timeoutMs };
  for (const [number, input] of inputs.entries()) {
    const answered = next();
    runtime.postMessage({ type: "execute", requestId: `r${number}`, script, input });
    answers.push(await answered);
  }
  await runtime.terminate();
}
process.stdout.write(JSON.stringify(answers));
