// The rule that takes a model, as classifier/policy.py has it: least expected cost among the models that fit, tempered by
// the session's manners. Pure: figures come from the pack's routing.json, the session's state is given. Subagents,
// callers' rules, pinned paths and exploring are not carried here, and `pointsman pack` refuses policies with them.
"use strict";

// Which moves a situation allows, as in classifier/manners.py.
const MOVES = {
  first: { up: true, level: true, down: true, withMargin: false },
  new: { up: true, level: true, down: true, withMargin: false },
  follow: { up: true, level: false, down: false, withMargin: true },
  correct: { up: true, level: false, down: false, withMargin: false },
  pressed: { up: true, level: true, down: false, withMargin: false },
};
const NOTABLE_DOUBT = 0.05;

/** Weighs turns by one pack. `routing` is the parsed routing.json. */
class Chooser {
  #routing; #byName; #careful;

  constructor(routing) {
    this.#routing = routing;
    this.#byName = new Map(routing.models.map((model) => [model.name, model]));
    this.#careful = routing.careful_categories;
  }

  /** Say whether a name is a model or a role. */
  knows(name) {
    return this.#byName.has(name) || Object.hasOwn(this.#routing.roles, name);
  }

  /** Say how a turn stands to the one before it. */
  stage(assessment, policy) {
    const [isNew, follow, correct] = assessment.turn;
    if (isNew >= policy.new_task_probability) return "new";
    return correct > Math.max(isNew, follow) ? "correct" : "follow";
  }

  /** Weigh a turn's first request. `limits` holds `models` (names or undefined) and `wanted` (a name or undefined). */
  choose(turn, assessment, state, policy, limits, now) {
    const present = this.#present(turn, assessment, state, policy);
    if (present.model && now - state.updatedAt > (this.#byName.get(present.model)?.cache_ttl_s ?? -1)) {
      present.cachedTokens = 0;
    }
    const notes = [];
    const weighed = this.#weigh(turn, assessment, policy, present, notes);
    const allowed = this.#allowed(limits, present.model);
    let [fitting, excluded] = split(allowed, turn, policy, weighed.load.growth);
    if (!fitting.length) [fitting, excluded] = split(allowed, turn, policy, 0);
    if (!fitting.length) return this.#lastResort(policy, limits, excluded, []);
    const wanted = this.#wanted(limits, fitting, notes);
    const candidates = this.#bounded(wanted.length ? wanted : fitting, allowed, turn, policy, weighed, excluded, notes, wanted.length > 0);
    const costs = this.#costs(candidates, turn, policy, present, weighed);
    const [chosen, manner] = wanted.length ? [costs[0], null] : this.#settle(costs, present, policy);
    const why = costs.length === 1 ? ["only_candidate"] : chosen === costs[0] ? ["least_cost"] : [];
    const model = this.#byName.get(chosen.model);
    return {
      model: model.name,
      provider: model.provider,
      effort: chosen.effort,
      fallbacks: costs.filter((cost) => cost !== chosen).map((cost) => cost.model),
      expected_cost: costs,
      excluded,
      stakes: weighed.stakes,
      sticky: model.name === present.model,
      codes: unique([...why, ...(manner ? [manner] : []), ...notes]),
    };
  }

  /** Stay with the session's model inside a turn; leave it only when it does not take the request. */
  keep(turn, state, policy, limits) {
    const [fitting] = split(this.#allowed(limits, state.model), turn, policy, 0);
    const names = fitting.map((model) => model.name);
    if (names.includes(state.model)) {
      const fallbacks = (state.decision?.fallbacks ?? []).filter((name) => names.includes(name));
      const { provider } = this.#byName.get(state.model);
      const effort = state.decision?.effort ?? null;
      return { ...unweighed(state.model, provider, fallbacks, [], ["same_turn"]), effort, sticky: true };
    }
    const upward = fitting.filter((model) => model.rank >= this.#rank(state.model)).map((model) => model.name);
    if (!state.assessment || !fitting.length) {
      const choice = this.chooseDefault(turn, policy, limits);
      return { ...choice, codes: unique(["left_mid_turn", ...choice.codes]) };
    }
    const choice = this.choose(turn, state.assessment, null, policy, { models: upward.length ? upward : names }, 0);
    return { ...choice, codes: unique(["left_mid_turn", ...choice.codes]) };
  }

  /** Take the safe default, or the nearest to it that fits: for turns nothing is known about. */
  chooseDefault(turn, policy, limits) {
    const named = policy.models.default;
    const [fitting, excluded] = split(this.#allowed(limits, ...named), turn, policy, 0);
    if (!fitting.length) return this.#lastResort(policy, limits, excluded, ["safe_default"]);
    const notes = ["safe_default"];
    const wanted = this.#wanted(limits, fitting, notes);
    const place = (model) => [!wanted.includes(model), !named.includes(model.name), -model.rank].map(Number);
    const [first, ...rest] = sortedBy(fitting, place);
    return unweighed(first.name, first.provider, rest.map((model) => model.name), excluded, notes);
  }

  #rank(name) {
    return this.#byName.get(name)?.rank ?? 1;
  }

  #allowed({ models, wanted }, ...extra) {
    if (models) return this.#routing.models.filter((model) => models.includes(model.name));
    const asked = wanted === undefined ? [] : (this.#routing.roles[wanted] ?? [wanted]);
    const names = unique([...this.#routing.weighed, ...extra, ...asked]);
    return names.map((name) => this.#byName.get(name)).filter(Boolean);
  }

  #wanted({ wanted }, fitting, notes) {
    if (wanted === undefined) return [];
    const names = this.#routing.roles[wanted] ?? [wanted];
    const found = fitting.filter((model) => names.includes(model.name));
    notes.push(found.length ? "explicit_model" : "explicit_model_unfit");
    return found;
  }

  #lastResort(policy, limits, excluded, notes) {
    let allowed = this.#allowed(limits);
    let note = "no_model_fits";
    if (!allowed.length) {
      allowed = this.#allowed({});
      note = "none_allowed";
    }
    const place = (model) => [-model.input_max, Number(!policy.models.default.includes(model.name))];
    const [first, ...rest] = sortedBy(allowed, place);
    return unweighed(first.name, first.provider, rest.map((model) => model.name), excluded, [...notes, note]);
  }

  #present(turn, assessment, state, policy) {
    if (!state?.model) return { situation: "first", cachedTokens: 0, corrections: {} };
    const stage = this.stage(assessment, policy);
    const [nInARow, corrections] = heard(state, stage, assessment.turn[2]);
    return {
      model: state.model,
      situation: nInARow >= policy.escalate_after ? "pressed" : stage,
      cachedTokens: Math.min(state.contextTokens, turn.context_tokens),
      corrections,
      before: stage === "new" ? undefined : state.assessment,
    };
  }

  #weigh(turn, assessment, policy, present, notes) {
    let categories = assessment.category;
    let loss = dot(assessment.risk, policy.loss_usd);
    if (present.before) {
      const memory = policy.task_memory * (1 - assessment.turn[0]);
      categories = mixed(categories, present.before.category, memory);
      loss = (1 - memory) * loss + memory * dot(present.before.risk, policy.loss_usd);
    }
    const doubt = policy.novelty_weight * assessment.novelty;
    if (doubt) {
      categories = mixed(categories, categories.map(() => 1 / categories.length), doubt);
      loss = (1 - doubt) * loss + (doubt * policy.loss_usd.reduce((a, b) => a + b, 0)) / policy.loss_usd.length;
      if (doubt >= NOTABLE_DOUBT) notes.push("novel_text");
    }
    const weights = categories.flatMap((category) => assessment.scope.map((scope) => category * scope));
    const [requests, output, growth, regrown] = [0, 1, 2, 3].map((k) => dot(weights, policy.load_table.map((row) => row[k])));
    const stakes = {
      loss_usd: loss, care_probability: this.#careProbability(assessment), cached_tokens: present.cachedTokens,
      requests, output_tokens: output, growth_tokens: growth, money_weight: 1,
    };
    return { weights, loss, stakes, load: { requests, output, growth, regrown } };
  }

  /** Probability that a turn needs care, the heads taken as independent. */
  #careProbability({ category, risk, scope }) {
    const hard = this.#careful.reduce((total, i) => total + category[i], 0);
    return risk[2] + risk[1] * (1 - (1 - hard) * (1 - scope[2]));
  }

  #bounded(fitting, allowed, turn, policy, { stakes }, excluded, notes, isWish) {
    const isAbove = policy.care_threshold !== null && stakes.care_probability > policy.care_threshold;
    let held = fitting.filter((model) => model.tier !== "cheap");
    if (!isAbove || held.length === fitting.length) return fitting;
    if (isWish || !policy.enforce_risk_bound) {
      notes.push(isWish ? "risk_bound_overridden" : "risk_bound_off");
      return fitting;
    }
    if (!held.length) held = split(allowed, turn, policy, 0)[0].filter((model) => model.tier !== "cheap");
    if (!held.length) {
      notes.push("risk_bound_unmet");
      return fitting;
    }
    notes.push("risk_bound");
    const names = held.map((model) => model.name);
    const kept = excluded.filter((exclusion) => !names.includes(exclusion.model));
    const left = fitting.filter((model) => model.tier === "cheap").map((model) => model.name);
    const bound = left.map((model) => ({ model, code: "risk_bound", detail: "which the risk bound leaves out" }));
    excluded.splice(0, excluded.length, ...kept, ...bound);
    return held;
  }

  #costs(fitting, turn, policy, present, { weights, loss, load }) {
    const [context, cached] = [turn.context_tokens, present.cachedTokens];
    const read = cached + (load.requests - 1) * context + load.regrown;
    const written = context - cached + load.growth;
    const told = Object.entries(present.corrections).filter(([name]) => this.#byName.has(name));
    const costs = fitting.map((model) => {
      const tier = pricesOf(model, context + load.growth / 2);
      let rate = dot(model.rates, weights);
      const failed = this.#corrections(model, told) * policy.correction_trials;
      if (failed) rate = (rate * policy.prior_trials + failed) / (policy.prior_trials + failed);
      const isSwitch = present.model !== undefined && model.name !== present.model;
      const reread = (cached * (tier.cache_write - tier.cache_read)) / 1e6;
      const plain = {
        model: model.name,
        tokens: (read * tier.cache_read + written * tier.cache_write + load.output * tier.output) / 1e6,
        switch: isSwitch ? policy.coherence_usd + reread : 0,
        failure: rate * loss,
        effort: null,
        cached: (cached * tier.cache_read) / 1e6,
        failure_probability: rate,
      };
      return atBestEffort(plain, model, (load.output * tier.output) / 1e6, loss);
    });
    return sortedBy(costs, (cost) => [cost.total]);
  }

  /** Count what a session's corrections say against a model, as `corrections_of` of classifier/manners.py does. */
  #corrections({ rank, family }, told) {
    return told.reduce((sum, [name, times]) => {
      const corrected = this.#byName.get(name);
      if (corrected.rank > rank || (corrected.rank === rank && corrected.family === family)) return sum + times;
      return corrected.rank === rank ? sum + this.#routing.other_family * times : sum;
    }, 0);
  }

  #settle(costs, present, policy) {
    const { model, situation } = present;
    if (situation === "pressed") {
      const pool = costs.filter((cost) => policy.models.escalate_to.includes(cost.model));
      if (pool.length) return [pool.find((cost) => cost.model === model) ?? pool[0], "escalated"];
    }
    if (model === undefined || situation === "first") return [costs[0], null];
    const own = this.#rank(model);
    const stay = costs.find((cost) => cost.model === model);
    if (!stay) {
      const held = situation === "new" ? costs : costs.filter((cost) => this.#rank(cost.model) >= own);
      return [held[0] ?? costs[0], "session_model_unfit"];
    }
    const best = costs.find((cost) => cost === stay || allows(MOVES[situation], this.#rank(cost.model) - own));
    const leastGain = MOVES[situation].withMargin ? policy.follow_up_margin * stay.total : 0;
    if (best === stay || stay.total - best.total <= leastGain) {
      return [stay, situation === "new" ? "new_task_stayed" : "task_goes_on"];
    }
    return [best, { correct: "corrected_up", follow: "moved_up" }[situation] ?? "new_task_left"];
  }
}

/** Weigh what a turn says of the model before it: corrections in a row, and per model. */
function heard(state, stage, correctProbability) {
  const { model, nCorrections, corrections } = state;
  if (stage === "new") return [0, Object.fromEntries(Object.entries(corrections).map(([name, n]) => [name, n / 2]))];
  const nInARow = stage === "correct" ? nCorrections + 1 : 0;
  if (!model) return [nInARow, corrections];
  return [nInARow, { ...corrections, [model]: (corrections[model] ?? 0) + correctProbability }];
}

function split(allowed, turn, policy, growth) {
  const [fitting, excluded] = [[], []];
  const tokens = turn.context_tokens + growth;
  for (const model of allowed) {
    const isTooMuch = tokens > model.input_max || tokens + Math.min(policy.reserve_output_tokens, model.max_output) > model.context;
    if (!isTooMuch) fitting.push(model);
    else excluded.push({ model: model.name, code: "window", detail: `whose window of ${model.input_max} tokens is too small` });
  }
  return [fitting, excluded];
}

function atBestEffort(plain, model, outputUsd, loss) {
  if (!model.efforts.length) return total(plain);
  const found = model.efforts.map((effort) => {
    const rate = withOdds(Math.min(plain.failure_probability, 1 - 1e-9), effort.failure_odds);
    const tokens = plain.tokens + (effort.output - 1) * outputUsd;
    return total({ ...plain, tokens, failure: rate * loss, effort: effort.name, failure_probability: rate });
  });
  return sortedBy(found, (cost) => [cost.total])[0];
}

function total(cost) {
  return { ...cost, total: cost.tokens + cost.switch + cost.failure };
}

function withOdds(rate, factor) {
  const odds = (rate / (1 - rate)) * factor;
  return odds / (1 + odds);
}

function pricesOf(model, tokens) {
  return model.prices.find((tier) => tier.up_to === null || tokens <= tier.up_to) ?? model.prices.at(-1);
}

function allows(moves, step) {
  return step > 0 ? moves.up : step < 0 ? moves.down : moves.level;
}

function unweighed(model, provider, fallbacks, excluded, codes) {
  return { model, provider, effort: null, fallbacks, expected_cost: [], excluded, stakes: null, sticky: false, codes };
}

function dot(some, other) {
  return some.reduce((sum, value, i) => sum + value * other[i], 0);
}

function mixed(some, other, share) {
  return some.map((value, i) => (1 - share) * value + share * other[i]);
}

function unique(names) {
  return [...new Set(names)];
}

/** Sort by numbers, compared in order; equals keep their places. */
function sortedBy(items, placeOf) {
  const placed = items.map((item) => [placeOf(item), item]);
  placed.sort(([a], [b]) => a.map((value, i) => value - b[i]).find((difference) => difference) ?? 0);
  return placed.map(([, item]) => item);
}

module.exports = { Chooser, heard };
