// Decides the questions on stdin (a JSON list of {digest, asking, at}) in order, with the pack named as argument.
import { Router } from "pointsman-client/in-process";
import { text } from "node:stream/consumers";

const questions = JSON.parse(await text(process.stdin));
let now = 0;
const router = await Router.load(process.argv[2], { clock: () => now });
const decisions = [];
for (const { digest, asking, at } of questions) {
  now = at ?? 0;
  decisions.push(await router.decide(digest, asking));
}
await router.close();
process.stdout.write(JSON.stringify({ decisions, nFailures: router.nFailures }));
