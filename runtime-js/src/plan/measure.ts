// Times several launches against each other until it is clear which is the fastest.

/** A run has enough launches to take RUN_MS, or RUN_TICKS ticks of the clock, but at most LONGEST_RUN_MS. It is this
 * long because a submission costs time too, and because Firefox's clock counts whole milliseconds. */
const RUN_MS = 10,
  RUN_TICKS = 12,
  LONGEST_RUN_MS = 100,
  MAX_LAUNCHES = 400;
/** Each contender gets at least ROUNDS runs, unless one is very slow: no round begins after BUDGET_MS, which does not
 * count the first round. */
const ROUNDS = 4,
  BUDGET_MS = 800;
/** A contender's runs agree when its fastest ROUNDS runs differ by at most AGREE of their time. A contender is out of
 * reach when its time less REACH times that difference is still longer than the fastest contender's. Both numbers were
 * tried on test/simulated.ts. */
const AGREE = 0.05,
  REACH = 4;

/** Milliseconds of one launch: `ms` in the fastest run, `runs` in every run that was long enough. */
export interface RunTimes {
  readonly ms: number;
  readonly runs: readonly number[];
}
/** The times of all contenders. `sure` means that more runs would not change which one is the fastest. */
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
 * A run is never faster than the GPU, but other things may slow it down: the first run compiles, the GPU's clock rises
 * slowly, the browser compiles other shaders, the page downloads. So only a contender's fastest runs count. Timing ends
 * when the fastest runs of each contender agree, or are out of reach. */
export async function timeInTurn(runs: readonly Run[], tick = 0): Promise<Comparison> {
  const long = Math.min(LONGEST_RUN_MS, Math.max(RUN_MS, RUN_TICKS * tick));
  const budget = Math.max(BUDGET_MS, 2 * ROUNDS * runs.length * long);
  const contenders = runs.map((run): Contender => ({ run, runs: [], fastest: [], launches: 1 }));
  let spent = 0;
  for (let round = 1; ; round++) {
    for (let i = 0; i < runs.length; i++) spent += await sample(contenders[(i + round) % runs.length]!, long, tick);
    if (round === 1) spent = 0; // the first round may have waited for the browser's earlier work
    const sure = round >= ROUNDS && isSettled(contenders, tick);
    if (sure || (round >= 2 && spent >= budget))
      return { times: contenders.map(({ fastest: [ms], runs: all }) => ({ ms: ms!, runs: all })), sure };
  }
}

/** Runs a contender until one run is long enough to count. Returns the milliseconds that all its runs took. */
async function sample(contender: Contender, long: number, tick: number): Promise<number> {
  for (let spent = 0; ; ) {
    const { run, runs, launches } = contender;
    const ms = await run(launches);
    spent += ms;
    const each = ms / launches;
    if (ms >= long / 2 || launches >= MAX_LAUNCHES) {
      runs.push(each);
      contender.fastest = [...contender.fastest, each].sort((a, b) => a - b).slice(0, ROUNDS);
      // Something may have slowed this run down, so the fastest run decides how many launches the next one has.
      contender.launches = launchesFor(long / contender.fastest[0]!);
      return spent;
    }
    contender.launches = launchesFor(Math.max(2 * launches, long / Math.max(each, (2 * tick) / launches)));
  }
}

/** Whether more runs would not change which contender is the fastest. */
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
    if (now > before && ticked++) return now - before;
    before = now;
  }
  return 17; // Firefox's, where it resists fingerprinting
}
