// Runs a script rule in claude-code-router's own worker, or its router module as version 3 calls it: one question on
// stdin, one answer on stdout.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
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
