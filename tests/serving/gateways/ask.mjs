// Drives the JavaScript client for the tests: one JSON question per line in, one JSON answer per line out.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { Client } = await import(pathToFileURL(`${process.argv[2]}/index.mjs`));
const clients = [];
const operations = {
  open: ({ options }) => {
    const logged = [];
    return clients.push({ logged, client: new Client({ ...options, log: (message) => logged.push(message) }) }) - 1;
  },
  decide: ({ on, body, asked }) => clients[on].client.decide(body, asked),
  feedback: ({ on, id, outcome, fields }) => clients[on].client.feedback(id, outcome, fields),
  counts: ({ on }) => clients[on].client.counts,
  logged: ({ on }) => clients[on].logged,
};

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = { value: await operations[question.do](question) };
  } catch (error) {
    answer = { error: `${error}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
