/** Why there is no decision. */
export type Failure = "timeout" | "unreachable" | "status" | "garbage" | "unknown_model" | "error";
export const FAILURES: readonly Failure[];

export interface HeadAnswer {
  label: string;
  probability: number;
  probabilities: Record<string, number>;
}

/** The service's answer, as `POST /v1/decide` gives it. */
export interface Decision {
  model: string;
  provider: string;
  fallbacks: string[];
  decision_id: string;
  kind: "task" | "tool_loop" | "background" | "subagent";
  category: HeadAnswer | null;
  risk: HeadAnswer | null;
  scope: HeadAnswer | null;
  turn: HeadAnswer | null;
  reasons: string[];
  sticky: boolean;
  session_id: string | null;
  [field: string]: unknown;
}

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
    outcome: "success" | "failure" | "corrected" | "escalated" | "abandoned",
    fields?: Record<string, unknown>,
  ): Promise<string>;
}
