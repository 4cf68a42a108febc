import type { components } from "./openapi.js";

/** Why there is no decision. */
export type Failure = "timeout" | "unreachable" | "status" | "garbage" | "unknown_model" | "error";
export const FAILURES: readonly Failure[];

/** The service's answer, as `POST /v1/decide` gives it. */
export type Decision = components["schemas"]["DecisionAnswer"];
export type HeadAnswer = components["schemas"]["HeadAnswer"];
/** How a turn went, as `POST /v1/feedback` takes it. */
export type Feedback = components["schemas"]["FeedbackRequest"];

export interface Choice {
  /** In your own names, when `models` maps to them. */
  model: string;
  decision: Decision | null;
  failure: Failure | null;
  /** A tool loop stayed with the model it had, since the service was away at some time during its turn. */
  kept: boolean;
}

export interface Options {
  url?: string;
  /** Takes requests that nobody decided. */
  safeModel: string;
  /** The catalogue's models that you serve, or an object of them to your names. No other may be taken. */
  models?: readonly string[] | Readonly<Record<string, string>>;
  /** A preset in place of the service's own policy. */
  policy?: string;
  /** The service's API key, sent as `x-pointsman-key`; needed where the service asks for one. */
  key?: string;
  /** From connecting to the last byte; 250 when left out. */
  deadlineMs?: number;
  /** Told each time that no decision came; `console.warn` when left out. */
  log?: (message: string) => void;
}

export interface Asked {
  /** The client's own, credentials included: they stay here. */
  headers?: Readonly<Record<string, string | string[] | undefined>> | Headers;
  path?: string;
  sessionId?: string;
}

export class Client {
  constructor(options: Options);
  readonly counts: Partial<Record<Failure | "decided", number>>;
  decide(body: object | string, asked?: Asked): Promise<Choice>;
  feedback(
    decisionId: string,
    outcome: Feedback["outcome"],
    fields?: Partial<Omit<Feedback, "decision_id" | "outcome">>,
  ): Promise<string>;
}
