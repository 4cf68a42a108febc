import type { components } from "../openapi.js";

type Shapes = components["schemas"];

/** The service's answer; every field means the same here. */
export type Decision = Shapes["DecisionAnswer"];
export type Assessment = Shapes["AssessmentAnswer"];

export interface Digest {
  /** The person's own words, without what a client adds to them. */
  prompt: string;
  /** What was said before, oldest first; the last four messages are read. */
  context?: readonly { role: "user" | "assistant"; text: string }[];
  /** Tokens of the whole request; estimated from prompt and context when left out, which is far too few. */
  context_tokens?: number;
  /** Links the turns of a session: without it they are not linked, and the same words again are the same turn. */
  session_id?: string;
}

export interface Options {
  /** Threads of one inference; 1 when left out. */
  threads?: number;
  /** Sessions kept in memory, the least recently used forgotten first; 100000 when left out. */
  maxSessions?: number;
  /** Seconds; tells whether a prompt cache still lives. The wall clock when left out. */
  clock?: () => number;
  /** Told when the classifier fails; the safe default is taken then. */
  onFailure?: (error: unknown) => void;
}

export interface Asking {
  /** Of the catalogue's models only these may be taken. */
  models?: readonly string[];
  /** A preset in place of the pack's own policy. */
  policy?: string;
}

/** The pack is missing, altered, or of a newer format. */
export class PackError extends Error {}

/** Decides in this process, by the folder that `pointsman pack` wrote. */
export class Router {
  private constructor();
  static load(folder: string, options?: Options): Promise<Router>;
  readonly nFailures: number;
  /** Say which model takes a turn; never rejects on what the digest holds. */
  decide(digest: Digest, asking?: Asking): Promise<Decision>;
  /** Assess a turn without choosing anything. */
  classify(digest: Digest): Promise<Assessment>;
  close(): Promise<void>;
}
