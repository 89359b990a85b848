// Commit at the source to visible at the target, under a steady light load.
//
// From the commit time that the source keeps to the moment an observer of the target is told of the
// row: a trigger at the target notifies, and notifications are delivered once the commit is
// visible. That detour costs all arms the same; the figure "floor" says how much.
import { setTimeout as sleep } from "node:timers/promises";
import type { Arm } from "../arms/arm.ts";
import type { Database } from "../database.ts";
import { lastHistory, pgbench } from "../loads/pgbench.ts";
import type { Figures } from "../results.ts";
import { report } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";
import { quantile } from "../statistics.ts";
import { anyLag } from "./any-lag.ts";
import { checkTpcb, measureArms, type TpcbArms, tpcbArms, withArm } from "./tpcb-arms.ts";

/** Rows of the first moments, while plans are cached, are not counted. */
const WARM_UP_MS = 1_500;

export const lag: Scenario = {
  name: "lag",
  what: "commit to visible at 300 transactions a second (--rates) / native or others (--against)",

  async run(context: Context): Promise<void> {
    if (context.bed.options.pair !== "postgres-postgres") return anyLag(context);
    const arms = await tpcbArms(context);
    const observers = new Map<Arm, Observer>();
    for (const arm of [arms.tidemark, ...arms.rivals.values()]) {
      observers.set(arm, await Observer.on(arm));
    }
    for (const rate of context.bed.options.rates) await measureRate(context, arms, observers, rate);
    const floor = await observers.get(arms.tidemark)?.floor();
    for (const observer of observers.values()) await observer.remove();
    context.results.single("lag", floor ?? [], {
      figure: "floor p50",
      unit: "ms",
      better: "lower",
    });
    await checkTpcb(context, "lag", arms);
  },
};

async function measureRate(
  context: Context,
  arms: TpcbArms,
  observers: ReadonlyMap<Arm, Observer>,
  rate: number,
): Promise<void> {
  context.say(`${rate} transactions a second`);
  const laps = await measureArms(context, "lag", arms, (arm) =>
    measure(context, observers.get(arm) as Observer, rate),
  );
  const at = { axis: "transactions a second", value: rate };
  const options = { unit: "ms", better: "lower", at } as const;
  const goal = rate === 300 ? 4 : null;
  report(context.results, "lag", laps, {
    ...{ ...options, figure: "p50", label: `p50 at ${rate}/s`, goal },
  });
  report(context.results, "lag", laps, { ...options, figure: "p99", label: `p99 at ${rate}/s` });
}

function measure(context: Context, observer: Observer, rate: number): Promise<Figures> {
  const { bed, size } = context;
  const { pair } = observer.arm;
  return withArm(context, observer.arm, async () => {
    const before = await lastHistory(pair.source);
    await pgbench(bed, pair.source, { seconds: size(8, 3), rate });
    const last = await lastHistory(pair.source);
    await pair.visible("pgbench_history", last);
    const lags = await observer.lags(before, last);
    return { p50: quantile(lags, 0.5), p99: quantile(lags, 0.99) };
  });
}

class Observer {
  readonly arm: Arm;
  /** When each row of the history was seen at the target, milliseconds since the epoch. */
  readonly #seen = new Map<number, number>();

  private constructor(arm: Arm) {
    this.arm = arm;
  }

  static async on(arm: Arm): Promise<Observer> {
    const observer = new Observer(arm);
    await arm.pair.target.query(`
      CREATE OR REPLACE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('bench', NEW.id::text); RETURN NULL; END $$;
      CREATE TRIGGER bench_tell AFTER INSERT ON pgbench_history
        FOR EACH ROW EXECUTE FUNCTION bench_tell();
      ALTER TABLE pgbench_history ENABLE ALWAYS TRIGGER bench_tell`);
    await arm.pair.target.listen("bench", (id) => {
      // What is delivered more than once was visible the first time.
      if (!observer.#seen.has(Number(id))) observer.#seen.set(Number(id), now());
    });
    return observer;
  }

  async remove(): Promise<void> {
    await this.arm.pair.target.query("UNLISTEN bench; DROP TRIGGER bench_tell ON pgbench_history");
  }

  /** Milliseconds, of the rows after `before` up to `last`. */
  async lags(before: number, last: number): Promise<number[]> {
    const { source } = this.arm.pair;
    const offset = await clockOffset(source);
    const committed = await commitTimes(source, before, last);
    const first = Math.min(...committed.values());
    const lags: number[] = [];
    for (const [id, at] of committed) {
      const seen = this.#seen.get(id);
      if (seen === undefined) throw new Error(`Nobody told of row ${id} at the target.`);
      if (at - first >= WARM_UP_MS) lags.push(seen + offset - at);
    }
    return lags;
  }

  /** The same way of measuring, where nothing lies between: rows written at the target itself. */
  async floor(): Promise<number[]> {
    const { target } = this.arm.pair;
    const offset = await clockOffset(target);
    const ids = Array.from({ length: 200 }, (_, i) => -1 - i);
    for (const id of ids) {
      await target.query("INSERT INTO pgbench_history (id) VALUES ($1)", [id]);
      await sleep(1);
    }
    const committed = await commitTimes(target, -201, -1);
    const lags = ids.map(
      (id) => (this.#seen.get(id) ?? Number.NaN) + offset - (committed.get(id) ?? 0),
    );
    await target.query("DELETE FROM pgbench_history WHERE id < 0");
    return [quantile(lags, 0.5)];
  }
}

/** Microseconds matter here, so no Date is parsed. */
async function commitTimes(
  database: Database,
  after: number,
  upTo: number,
): Promise<ReadonlyMap<number, number>> {
  const rows = await database.query<{ id: string; at: string }>(
    `SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 AS at
     FROM pgbench_history WHERE id > $1 AND id <= $2`,
    [after, upTo],
  );
  return new Map(rows.map(({ id, at }) => [Number(id), Number(at)]));
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

/** What to add to this process's clock to get the server's (one machine, yet not one reading). */
async function clockOffset(database: Database): Promise<number> {
  let best = { trip: Number.POSITIVE_INFINITY, offset: 0 };
  for (let i = 0; i < 20; i++) {
    const sent = now();
    const server = await database.number("SELECT extract(epoch FROM clock_timestamp()) * 1000");
    const trip = now() - sent;
    if (trip < best.trip) best = { trip, offset: server - (sent + trip / 2) };
  }
  return best.offset;
}
