import type { DatabaseOptions, Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import type {
  ApplierSession,
  BoundTable,
  TableProgress,
  Target,
  TargetPlan,
  TargetTable,
} from "../../core/target.ts";
import { loadCopies, openApplier } from "./applier-session.ts";
import { Session } from "./connection.ts";
import { filledOf } from "./emptiness.ts";
import { identityOf } from "./identity.ts";
import { assertOursFit, PROGRESS_TABLES, standingTables } from "./ours.ts";
import { MysqlParked } from "./parked.ts";
import { diagnoseTarget } from "./target-doctor.ts";
import { planTarget } from "./target-plan.ts";

export class MysqlTarget implements Target {
  readonly parked: MysqlParked;
  readonly #options: DatabaseOptions;
  readonly #session: Session;

  private constructor(options: DatabaseOptions, session: Session) {
    this.parked = new MysqlParked(session);
    this.#options = options;
    this.#session = session;
  }

  static async open(options: DatabaseOptions): Promise<MysqlTarget> {
    return new MysqlTarget(options, await Session.open(options, { isolation: "READ COMMITTED" }));
  }

  identity(): Promise<string | null> {
    return identityOf(this.#session);
  }

  plan(tables: readonly TargetTable[]): Promise<TargetPlan> {
    return planTarget(this.#session, tables);
  }

  async prepare(plan: TargetPlan): Promise<void> {
    const refused = plan.mappings.find((mapping) => mapping.fidelity === "refused");
    if (refused !== undefined) {
      throw new TidemarkError(
        "TM-COLUMN-UNFIT",
        `Column ${refused.column} of ${refused.table.name} is refused: ${refused.note ?? ""}`,
      );
    }
    for (const statement of plan.statements) {
      const [, made] = /^CREATE TABLE IF NOT EXISTS `((?:[^`]|``)+)`/.exec(statement) ?? [];
      const context = made === undefined ? {} : { table: made.replaceAll("``", "`"), makes: true };
      await this.#session.run(statement, [], context);
    }
  }

  diagnose(tables: readonly TargetTable[]): Promise<readonly Finding[]> {
    return diagnoseTarget(this.#session, tables);
  }

  async copiesOf(sync: string): Promise<readonly TableProgress[]> {
    const isThere = (await standingTables(this.#session)).has(PROGRESS_TABLES);
    if (!isThere) return [];
    await assertOursFit(this.#session, "target");
    return loadCopies(this.#session, sync);
  }

  filled(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    return filledOf(this.#session, tables);
  }

  openApplier(sync: string, tables: readonly BoundTable[]): Promise<ApplierSession | null> {
    return openApplier(this.#options, sync, tables);
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}
