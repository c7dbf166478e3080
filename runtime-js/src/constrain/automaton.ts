// Runs a program. A state of the automaton is the set of all places in the grammar that the text may have come to.
// States are made when they are first reached, and their transitions are kept.
import type { Edge, Program } from "./program.js";

/** Where a rule or a repeat's body goes on when it ends. The stack's bottom is undefined. */
interface Frame {
  readonly id: number;
  /** For a call, where it comes back; for a repeat, its state. */
  readonly state: number;
  /** How often the body of a repeat has run; -1 for a call. */
  readonly count: number;
  readonly below: Frame | undefined;
  /** The frame that stands for all from which the same tokens may follow. */
  readonly alike: Frame;
}

interface Place {
  readonly state: number;
  readonly frame: Frame | undefined;
  /** While places are looked for: how many of the top frames no byte has come since. */
  readonly fresh: number;
}

/** Places that a text may have come to, at most, and states that are kept. */
const MAX_PLACES = 3000;
const MAX_STATES = 10_000;

export class TooAmbiguousError extends Error {}

export class State {
  /** By byte; null where the byte cannot follow. */
  readonly next: (State | null | undefined)[] = new Array(256);
  constructor(
    readonly places: readonly Place[],
    /** The text may end here. */
    readonly complete: boolean,
    /** Equal for states from which the same tokens may follow. */
    readonly alike: string,
  ) {}
}

export class Automaton {
  readonly start: State;
  private frames = new Map<string, Frame>();
  private states = new Map<string, State>();
  private frameCount = 0;

  /** `horizon`: characters that tokens have at most, and one that they begin in the middle of. A repeat whose end is
   * farther away looks like any other. */
  constructor(
    private readonly program: Program,
    private readonly horizon = 256,
  ) {
    this.start = this.closure([{ state: program.start, frame: undefined, fresh: 0 }]);
  }

  /** The state after a byte, or null. Throws TooAmbiguousError. */
  step(state: State, byte: number): State | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const { edges } = this.program,
      reached: Place[] = [];
    for (const { state: q, frame } of state.places)
      for (const [from, to, target] of edges[q]!)
        if (byte >= from && byte <= to) reached.push({ state: target, frame, fresh: 0 });
    const next = reached.length ? this.closure(reached) : null;
    state.next[byte] = next;
    return next;
  }

  /** The state after bytes, a character for each, or null. */
  follow(from: State, bytes: string): State | null {
    let state: State | null = from;
    for (let i = 0; i < bytes.length && state; i++) state = this.step(state, bytes.charCodeAt(i));
    return state;
  }

  /** Where all places are within one call: the state as if the call were the whole text, and the state after it. What
   * may follow the first is the same wherever the rule was called. */
  split({ places }: State): { readonly within: State; readonly after: State } | undefined {
    const call = places.length ? callOf(places[0]!.frame) : undefined;
    if (!call || places.some(({ frame }) => callOf(frame) !== call)) return undefined;
    const within = places.map(({ state, frame }) => ({ state, frame: this.above(frame, call), fresh: 0 }));
    const after = this.closure([{ state: call.state, frame: call.below, fresh: 0 }]);
    return { within: this.intern(within, false), after };
  }

  /** The frames above a call, on the stack's bottom. */
  private above(frame: Frame | undefined, call: Frame): Frame | undefined {
    return !frame || frame === call ? undefined : this.frame(frame.state, frame.count, this.above(frame.below, call));
  }

  /** Forgets all states but what a fresh copy of this one leads to. */
  renew(state: State): State {
    if (this.states.size < MAX_STATES) return state;
    this.states = new Map();
    this.frames = new Map();
    return new State(state.places, state.complete, state.alike);
  }

  /** The one byte that can follow, or -1. */
  onlyByte({ places, complete }: State): number {
    if (complete) return -1;
    let only = -1;
    for (const { state } of places)
      for (const [from, to] of this.program.edges[state]! as readonly Edge[]) {
        if (from !== to || (only >= 0 && only !== from)) return -1;
        only = from;
      }
    return only;
  }

  /** All places that are reached without a byte. */
  private closure(from: readonly Place[]): State {
    const { program } = this;
    const seen = new Set<string>(),
      places = new Map<string, Place>(),
      todo: Place[] = [];
    let complete = false;
    const visit = (state: number, frame: Frame | undefined, fresh: number): void => {
      const key = `${state} ${frame ? frame.id : ""} ${fresh}`;
      if (seen.has(key)) return;
      seen.add(key);
      if (seen.size > MAX_PLACES) throw new TooAmbiguousError("the text can be read in too many ways");
      todo.push({ state, frame, fresh });
    };
    const enter = (q: number, count: number, below: Frame | undefined, fresh: number): void =>
      visit(program.counted[q]!.body, this.frame(q, count, below), fresh + 1);
    for (const { state, frame } of from) visit(state, frame, 0);
    for (let place = todo.pop(); place; place = todo.pop()) {
      const { state, frame, fresh } = place;
      if (program.edges[state]!.length) places.set(`${state} ${frame ? frame.id : ""}`, place);
      for (const target of program.free[state]!) visit(target, frame, fresh);
      for (const [rule, back] of program.calls[state]!)
        if (program.ends[back]) visit(rule, frame, fresh);
        else visit(rule, this.frame(back, -1, frame), fresh + 1);
      const counted = program.counted[state];
      if (counted) {
        if (counted.min === 0) visit(counted.exit, frame, fresh);
        enter(state, 0, frame, fresh);
      }
      if (!program.final[state]) continue;
      const below = Math.max(0, fresh - 1);
      if (!frame) complete = true;
      else if (frame.count < 0) visit(frame.state, frame.below, below);
      else {
        const { min, max, exit } = program.counted[frame.state]!;
        const count = max === Infinity ? Math.min(frame.count + 1, min) : frame.count + 1; // enough is enough
        // a body that was empty may be so as often as is needed
        if (count >= min || fresh > 0) visit(exit, frame.below, below);
        if (count < max && fresh === 0)
          enter(frame.state, max === Infinity ? Math.min(count, min) : count, frame.below, below);
      }
    }
    return this.intern([...places.values()], complete);
  }

  private intern(places: Place[], complete: boolean): State {
    const key = keyOf(places, complete, (frame) => frame.id);
    let state = this.states.get(key);
    if (!state) {
      state = new State(
        places,
        complete,
        keyOf(places, complete, (frame) => frame.alike.id),
      );
      this.states.set(key, state);
    }
    return state;
  }

  private frame(state: number, count: number, below: Frame | undefined): Frame {
    const key = `${state} ${count} ${below ? below.id : ""}`;
    let frame = this.frames.get(key);
    if (frame) return frame;
    const alikeBelow = below?.alike,
      alikeCount = count < 0 ? count : this.alikeCount(state, count);
    if (alikeCount === count && alikeBelow === below) {
      const made = { id: this.frameCount++, state, count, below } as { -readonly [K in keyof Frame]: Frame[K] };
      made.alike = made;
      frame = made;
    } else {
      const alike = this.frame(state, alikeCount, alikeBelow);
      frame = { id: this.frameCount++, state, count, below, alike };
    }
    this.frames.set(key, frame);
    return frame;
  }

  /** The least count from which a token sees the same: an item takes a byte at least. */
  private alikeCount(state: number, count: number): number {
    const { min, max } = this.program.counted[state]!,
      { horizon } = this;
    if (count + horizon < min) return 0;
    return count >= min && count + horizon < max ? min : count;
  }
}

/** The topmost call of a stack. */
function callOf(frame: Frame | undefined): Frame | undefined {
  let top = frame;
  while (top && top.count >= 0) top = top.below;
  return top;
}

function keyOf(places: readonly Place[], complete: boolean, id: (frame: Frame) => number): string {
  const keys = places.map(({ state, frame }) => `${state}.${frame ? id(frame) : ""}`);
  return `${complete ? "!" : ""}${[...new Set(keys)].sort().join(" ")}`;
}

/** Whether the whole text is of the grammar; for tests, and for what is known to be complete. */
export function accepts(automaton: Automaton, bytes: Uint8Array): boolean {
  let state: State | null = automaton.start;
  for (const byte of bytes) {
    state = automaton.step(state, byte);
    if (!state) return false;
  }
  return state.complete;
}
