// Times several launches against each other until it is clear which is the fastest.

/** A run has as many launches as take about RUN_MS, or RUN_TICKS ticks of the clock, but never more than take
 * LONGEST_RUN_MS. A submission costs something too, and Firefox's clock counts whole milliseconds. */
const RUN_MS = 10,
  RUN_TICKS = 12,
  LONGEST_RUN_MS = 100,
  MAX_LAUNCHES = 400;
/** Each contender gets at least ROUNDS runs, if none is very slow. None begins after BUDGET_MS without the first round.
 * */
const ROUNDS = 4,
  BUDGET_MS = 800;
/** A contender's fastest ROUNDS runs agree when they differ by at most AGREE. Others are out of reach when REACH times
 * that difference does not bring them near the first. Both were tried on what test/simulated.ts does. */
const AGREE = 0.05,
  REACH = 4;

/** Milliseconds of a launch: the fastest run's, and those of all runs that were long enough. */
export interface RunTimes {
  readonly ms: number;
  readonly runs: readonly number[];
}
/** `sure` means that more runs would not change which is the fastest. */
export interface Comparison {
  readonly times: readonly RunTimes[];
  readonly sure: boolean;
}

/** Runs a number of launches, and returns the milliseconds that all of them took. */
export type Run = (launches: number) => Promise<number>;

interface Contender {
  readonly run: Run;
  readonly runs: number[];
  /** The fastest ROUNDS of `runs`, in order. */
  fastest: number[];
  /** Launches of the next run. */
  launches: number;
}

/** Times the runs in turn. `tick` is the number of milliseconds by which the page's clock advances.
 *
 * A run is never faster than the GPU is, but other things may slow it down: the first run's compilation, clocks that
 * have yet to rise, shaders that the browser compiles meanwhile, a page that is busy with downloads. So the fastest run
 * counts, and timing ends when each contender has shown what it can: its fastest runs agree, or are far behind. */
export async function timeInTurn(runs: readonly Run[], tick = 0): Promise<Comparison> {
  const long = Math.min(LONGEST_RUN_MS, Math.max(RUN_MS, RUN_TICKS * tick));
  const budget = Math.max(BUDGET_MS, 2 * ROUNDS * runs.length * long);
  const contenders = runs.map((run): Contender => ({ run, runs: [], fastest: [], launches: 1 }));
  let spent = 0;
  for (let round = 1; ; round++) {
    for (let i = 0; i < runs.length; i++) spent += await sample(contenders[(i + round) % runs.length]!, long, tick);
    if (round === 1) spent = 0; // it may have waited for all that the browser had to do before
    const sure = round >= ROUNDS && isSettled(contenders, tick);
    if (sure || (round >= 2 && spent >= budget))
      return { times: contenders.map(({ fastest: [ms], runs: all }) => ({ ms: ms!, runs: all })), sure };
  }
}

/** Runs a contender until a run was long enough to count; returns the milliseconds spent. */
async function sample(contender: Contender, long: number, tick: number): Promise<number> {
  for (let spent = 0; ; ) {
    const { run, runs, launches } = contender;
    const ms = await run(launches);
    spent += ms;
    const each = ms / launches;
    if (ms >= long / 2 || launches >= MAX_LAUNCHES) {
      runs.push(each);
      contender.fastest = [...contender.fastest, each].sort((a, b) => a - b).slice(0, ROUNDS);
      // A run that something held up had too few launches: the next one has more.
      contender.launches = launchesFor(long / contender.fastest[0]!);
      return spent;
    }
    contender.launches = launchesFor(Math.max(2 * launches, long / Math.max(each, (2 * tick) / launches)));
  }
}

/** Whether more runs would not change which is the fastest. */
function isSettled(contenders: readonly Contender[], tick: number): boolean {
  const first = Math.min(...contenders.map(({ fastest: [ms] }) => ms!));
  return contenders.every(({ fastest, launches }) => {
    const ms = fastest[0]!,
      noise = fastest.at(-1)! - ms;
    return ms === first || noise <= Math.max(AGREE * ms, (1.01 * tick) / launches) || ms - REACH * noise > first;
  });
}

const launchesFor = (wish: number): number => Math.min(MAX_LAUNCHES, Math.max(1, Math.ceil(wish)));

/** Milliseconds between two values of the page's clock. */
export function clockTick(): number {
  let before = performance.now(),
    ticked = 0;
  for (let i = 0; i < 200_000; i++) {
    const now = performance.now();
    if (now === before) continue;
    if (ticked++) return now - before;
    before = now;
  }
  return 17; // Firefox's, where it resists fingerprinting
}
