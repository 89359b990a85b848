// What docs/reference/grants.md asks for is enough, and each error for a missing right gives the
// statement that mends it (G8).
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DatabaseOptions } from "../../src/core/database.ts";
import { TidemarkError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { START } from "../../src/core/position.ts";
import type { CaptureTable } from "../../src/core/source.ts";
import { wholeDatabase } from "../../src/databases/mysql/identifiers.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { asTarget, type Bed, cutOnce, only, openBed, openLog, SERVERS } from "./bed.ts";

const PASSWORD = "of-the-user";
const SOURCE = ["SELECT", "TRIGGER", "CREATE", "INSERT", "UPDATE", "DELETE"];
const TARGET = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "CREATE TEMPORARY TABLES"];
/** Enough rows to be staged in a temporary table. */
const MANY = 200;

const PARENT_AND_CHILD = `
  CREATE TABLE t (id INT PRIMARY KEY, v INT);
  CREATE TABLE c (id INT PRIMARY KEY, t INT,
    FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE ON UPDATE CASCADE)`;
/** Five changes: the last statement deletes a row of each table. */
const EACH_EVENT =
  "INSERT INTO t VALUES (1, 1); UPDATE t SET v = 2; INSERT INTO c VALUES (1, 1); DELETE FROM t";

async function logged(bed: Bed): Promise<string> {
  const [[[count = ""] = []]] = (await bed.admin.query(
    "SELECT COUNT(*) FROM tidemark_change_log WHERE id > 0 AND op <> '-'",
  )) as unknown as [string[][]];
  return count;
}

interface User extends AsyncDisposable {
  readonly options: DatabaseOptions;
}

let users = 0;

/** A user of the bed's database, with these rights on it. */
async function makeUser(bed: Bed, ...rights: string[]): Promise<User> {
  const [[[database = ""] = []]] = (await bed.admin.query("SELECT DATABASE()")) as unknown as [
    string[][],
  ];
  const user = `u${++users}_${database}`.slice(0, 30);
  await bed.admin.query(`CREATE USER ${user} IDENTIFIED BY '${PASSWORD}'`);
  const only = database.replaceAll("_", "\\_");
  await bed.admin.query(`GRANT ${rights.join(", ")} ON \`${only}\`.* TO ${user}`);
  return {
    options: bed.as(user, PASSWORD),
    async [Symbol.asyncDispose]() {
      await bed.admin.query(`DROP USER ${user}`);
    },
  };
}

/** One that has them by its default role alone. MySQL takes the name of a database as it is written there. */
async function makeRoleUser(bed: Bed, ...rights: string[]): Promise<User> {
  const user = await makeUser(bed, ...rights);
  const { username, pathname } = new URL(user.options.url);
  const role = `r_${username}`;
  const database = pathname.slice(1);
  const on = wholeDatabase(database);
  const list = rights.join(", ");
  const to = bed.options.name === "mysql" ? "TO" : "FOR";
  await bed.admin.query(
    `CREATE ROLE ${role}; GRANT ${list} ON ${database}.* TO ${role}; REVOKE ${list} ON ${on} FROM ${username};
     GRANT ${role} TO ${username}; SET DEFAULT ROLE ${role} ${to} ${username}`,
  );
  return {
    options: user.options,
    async [Symbol.asyncDispose]() {
      await bed.admin.query(`DROP ROLE ${role}`);
      await user[Symbol.asyncDispose]();
    },
  };
}

async function trust(bed: Bed, on: boolean): Promise<void> {
  await bed.admin.query(`SET GLOBAL log_bin_trust_function_creators = ${on ? 1 : 0}`);
}

/** Fills a table with a unique key beside its own, and writes it over. */
async function apply(options: DatabaseOptions, table: CaptureTable): Promise<void> {
  const target = await mysql.openTarget(options);
  try {
    const plan = await target.plan([asTarget(table)]);
    await target.prepare(plan);
    const session = await target.openApplier("a->b", plan.tables);
    if (session === null) throw new Error("the lease is taken");
    try {
      const begun = { timeline: "", position: START, hash: "", tables: [] };
      const next = { ...begun, timeline: "t", position: { batch: 1, chunk: 0 }, hash: "h" };
      const rows = Array.from({ length: MANY }, (_, id) => [`${id}`, `v${id}`]);
      const transaction = await session.begin(await session.load());
      await transaction.put(only(plan.tables), rows);
      await transaction.put(only(plan.tables), rows);
      await transaction.commit(next);
    } finally {
      await session.close();
    }
  } finally {
    await target.close();
  }
}

/** What is told of a standing table. */
async function notesOf(options: DatabaseOptions, table: CaptureTable): Promise<readonly string[]> {
  const target = await mysql.openTarget(options);
  try {
    const { mappings, notes } = await target.plan([asTarget(table)]);
    const refused = mappings.filter(({ fidelity }) => fidelity === "refused");
    // Told or refused, but not passed over. MariaDB shows the name of what it hides.
    expect(notes.length + refused.length).toBeGreaterThan(0);
    return notes;
  } finally {
    await target.close();
  }
}

async function capture(options: DatabaseOptions, tables: readonly CaptureTable[]): Promise<void> {
  await using _ = await openLog({ options }, tables);
}

/** Tries until it works, and each time does what the error says. Returns what it was told. */
async function followFixes(bed: Bed, work: () => Promise<void>): Promise<string[]> {
  const fixes: string[] = [];
  for (;;) {
    try {
      await work();
      return fixes;
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== "TM-GRANT-MISSING") throw error;
      const fix = error.fix ?? "";
      expect(fix, error.message).not.toBe("");
      expect(fixes).not.toContain(fix);
      fixes.push(fix);
      await bed.admin.query(fix);
    }
  }
}

describe.each(SERVERS.filter(available))("rights on %s", (kind) => {
  const exact = kind === "mysql" ? "utf8mb4_0900_bin" : "utf8mb4_nopad_bin";
  let bed: Bed;
  let tables: readonly CaptureTable[];

  beforeAll(async () => {
    bed = await openBed(kind);
    await trust(bed, false);
    await bed.admin.query(
      `CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20) COLLATE ${exact} UNIQUE)`,
    );
    tables = await bed.capture("t");
  });
  afterAll(async () => {
    await trust(bed, false);
    await bed[Symbol.asyncDispose]();
  });

  it("documented are enough to capture, to change how, to apply and to go", async () => {
    await using other = await openBed(kind);
    await other.admin.query(
      `CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20) COLLATE ${exact} UNIQUE)`,
    );
    const [table] = await other.capture("t");
    if (table === undefined) throw new Error("one table");
    const more = kind === "mysql" ? ["LOCK TABLES"] : [];
    await using user = await makeUser(other, ...SOURCE, ...more, "DROP");
    await trust(other, true);
    await capture(user.options, [table]);
    await capture(user.options, [{ ...table, columns: ["id"] }]);
    // MariaDB asks for it to drop triggers, too; MySQL only to create them.
    if (kind === "mysql") await trust(other, false);
    const catalog = await mysql.openCatalog(user.options);
    await catalog.uninstall();
    await catalog.close();
    await trust(other, false);

    await using hiding = await openBed(kind);
    await hiding.admin.query(
      `CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20) UNIQUE);
       CREATE TRIGGER own BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'own'`,
    );
    await using blind = await makeUser(hiding, ...TARGET);
    const [note = ""] = await notesOf(blind.options, table);
    expect(note).toContain("TRIGGER");
    await hiding.admin.query(note.split("; ")[1] ?? "");
    expect(await notesOf(blind.options, table)).toEqual([]);

    await using applied = await openBed(kind);
    await using applier = await makeUser(applied, ...TARGET);
    await apply(applier.options, table);
    const target = await mysql.openTarget(applier.options);
    const findings = await target.diagnose([asTarget(table)]);
    await target.close();
    expect(findings).toContainEqual(expect.objectContaining({ check: "rights", severity: "ok" }));
    const [count] = await applied.admin.query("SELECT COUNT(*) FROM t");
    expect(count).toEqual([[`${MANY}`]]);
  });

  it("that are missing are told by doctor as statements that end, to be pasted into a client", async () => {
    await using user = await makeUser(bed, "SELECT");
    const source = await mysql.openSource(user.options);
    const target = await mysql.openTarget(user.options);
    const findings = [...(await source.diagnose(tables)), ...(await target.diagnose([]))];
    await Promise.all([source.close(), target.close()]);
    const fixes = findings.map(({ fix }) => fix ?? "").filter((fix) => /^(SET|GRANT) /.test(fix));
    for (const begin of ["SET GLOBAL log_bin_trust", "GRANT SELECT", "GRANT PROCESS"]) {
      expect(fixes).toContainEqual(expect.stringContaining(begin));
    }
    for (const fix of fixes) expect(fix).toMatch(/^[^;]*;( -- .*)?$/);
  });

  it.skipIf(kind !== "mysql")(
    "to set definers make up for no trust in who makes triggers",
    async () => {
      await using other = await openBed(kind);
      await other.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
      await using user = await makeUser(other, ...SOURCE, "LOCK TABLES");
      const [privileges] = (await other.admin.query("SHOW PRIVILEGES")) as unknown as [string[][]];
      // As later versions call it.
      const isLater = privileges.some(([name]) => name === "SET_ANY_DEFINER");
      const { username } = new URL("url" in user.options ? user.options.url : "");
      await other.admin.query(
        `GRANT ${isLater ? "SET_ANY_DEFINER" : "SET_USER_ID"} ON *.* TO ${username}`,
      );
      await trust(other, false);
      const asked = await other.capture("t");
      const source = await mysql.openSource(user.options);
      expect((await source.planCapture(asked)).lacks).toEqual([]);
      await source.close();
      await capture(user.options, asked);
      await other.admin.query("INSERT INTO t VALUES (1)");
      expect(await logged(other)).toBe("1");
    },
  );

  it.each(["SUPER ON *.*", "TRIGGER ON apart.*"])(
    "to make triggers are told as missing to who has %s",
    async (given) => {
      await using user = await makeUser(bed, ...SOURCE.filter((right) => right !== "TRIGGER"));
      await bed.admin.query(`GRANT ${given} TO ${new URL(user.options.url).username}`);
      const source = await mysql.openSource(user.options);
      const { lacks } = await source.planCapture(tables);
      const findings = await source.diagnose(tables);
      await source.close();
      for (const told of [lacks, findings]) {
        expect(told).toContainEqual(expect.objectContaining({ check: "trigger-right" }));
      }
    },
  );

  it("that it has by a role alone do where triggers have them, too, and are told as missing elsewhere", async () => {
    await using other = await openBed(kind);
    await other.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    await trust(other, true);
    await using user = await makeRoleUser(other, ...SOURCE);
    const captured = await other.capture("t");
    const source = await mysql.openSource(user.options);
    const { lacks = [] } = await source.planCapture(captured);
    for (const { fix = "", message } of lacks) {
      expect(message).toContain("by itself");
      await other.admin.query(fix);
    }
    expect(lacks.length).toBe(kind === "mysql" ? 0 : 2);
    await capture(user.options, captured);
    await other.admin.query("INSERT INTO t VALUES (1)");
    const diagnosed = async () =>
      (await source.diagnose(captured)).filter(({ check }) => check === "log-right");
    expect(await diagnosed()).toEqual([]);
    const name = new URL(user.options.url).username;
    const database = wholeDatabase(new URL(user.options.url).pathname.slice(1));
    if (kind === "mariadb") await other.admin.query(`REVOKE INSERT ON ${database} FROM ${name}`);
    expect(await diagnosed()).toHaveLength(kind === "mysql" ? 0 : 2);
    await source.close();
    await trust(other, false);
  });

  it.runIf(kind === "mysql")(
    "that it has by a role which is none of its default ones are told as missing",
    async () => {
      await using other = await openBed(kind);
      await other.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
      await trust(other, true);
      await using user = await makeRoleUser(other, ...SOURCE);
      const name = new URL(user.options.url).username;
      await other.admin.query(
        `SET DEFAULT ROLE NONE TO ${name}; SET GLOBAL activate_all_roles_on_login = 1`,
      );
      const captured = await other.capture("t");
      const source = await mysql.openSource(user.options);
      const { lacks = [] } = await source.planCapture(captured);
      await source.close();
      for (const { fix = "", message } of lacks) {
        expect(message).toContain("default roles alone");
        await other.admin.query(fix);
      }
      expect(lacks).toHaveLength(2);
      await capture(user.options, captured);
      await other.admin.query("INSERT INTO t VALUES (1)");
      await other.admin.query("SET GLOBAL activate_all_roles_on_login = 0");
      await trust(other, false);
    },
  );

  it("that are missing are named one by one, with a statement that grants them", async () => {
    await using user = await makeUser(bed, "SELECT");
    const first = await followFixes(bed, () => capture(user.options, tables));
    expect(first).toContain("SET GLOBAL log_bin_trust_function_creators = 1");
    const [table] = tables;
    if (table === undefined) throw new Error("one table");
    const changed = await followFixes(bed, () =>
      capture(user.options, [{ ...table, columns: ["id"] }]),
    );
    expect(changed.join()).toMatch(kind === "mysql" ? /^GRANT LOCK TABLES, TRIGGER ON/ : /^$/);
    await bed.admin.query("DELETE FROM t");
    const applied = await followFixes(bed, () => apply(user.options, table));
    expect(applied.join()).toContain("CREATE TEMPORARY TABLES");
  });

  it.each([
    ["INSERT", "log-right"],
    ["TRIGGER", "trigger-right"],
  ])("whose lack fails the application's writes are told by doctor: %s", async (right, check) => {
    await using other = await openBed(kind);
    await other.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    await using user = await makeUser(other, ...SOURCE);
    await trust(other, true);
    const captured = await other.capture("t");
    await capture(user.options, captured);
    await trust(other, false);
    const errors = async () => {
      const source = await mysql.openSource(user.options);
      const found = await source.diagnose(captured);
      await source.close();
      return found.filter(({ severity }) => severity === "error");
    };
    expect(await errors()).toEqual([]);
    const database = other.options.url.split("/").at(-1)?.split("?")[0]?.replaceAll("_", "\\_");
    const name = decodeURIComponent(new URL(user.options.url).username);
    await other.admin.query(`REVOKE ${right} ON \`${database}\`.* FROM ${name}`);
    await expect(other.admin.query("INSERT INTO t VALUES (1)")).rejects.toMatchObject({
      errno: 1142,
    });
    const found = await errors();
    expect([...new Set(found.map((each) => each.check))]).toEqual([check]);
    expect(found[0]?.message).toContain("fail");
    for (const { fix = "" } of found) await other.admin.query(fix);
    await other.admin.query("INSERT INTO t VALUES (1)");
    expect(await errors()).toEqual([]);
  });

  it.each([
    ["t", ""],
    ["c", ""],
    ["c", "but for a column"],
  ])(
    "to read, whose lack fails writes of what refers to a table, too, are told by doctor: %s %s",
    async (lacking, but) => {
      await using other = await openBed(kind);
      await other.admin.query(PARENT_AND_CHILD);
      await using user = await makeUser(other, ...SOURCE);
      await trust(other, true);
      const captured = await other.capture("c");
      await capture(user.options, captured);
      await trust(other, false);
      const database = other.options.url.split("/").at(-1)?.split("?")[0]?.replaceAll("_", "\\_");
      const name = decodeURIComponent(new URL(user.options.url).username);
      const [names] = (await other.admin.query("SHOW TABLES")) as unknown as [string[][]];
      for (const [table = ""] of names) {
        if (table !== lacking) await other.admin.query(`GRANT SELECT ON \`${table}\` TO ${name}`);
      }
      if (but !== "") await other.admin.query(`GRANT SELECT (id) ON ${lacking} TO ${name}`);
      await other.admin.query(`REVOKE SELECT ON \`${database}\`.* FROM ${name}`);
      await other.admin.query("INSERT INTO t VALUES (1, 1)");
      await expect(other.admin.query("DELETE FROM t")).rejects.toThrow("SELECT command denied");
      const errors = async () => {
        const source = await mysql.openSource(user.options);
        const found = await source.diagnose(captured);
        await source.close();
        return found.filter(({ severity }) => severity === "error");
      };
      const found = await errors();
      expect(found).toMatchObject([{ check: "read-right" }]);
      await other.admin.query(found[0]?.fix ?? "");
      await other.admin.query("DELETE FROM t");
      expect(await errors()).toEqual([]);
    },
  );

  it.each([
    ["all of them", ["t", "c"]],
    // What the parent does to its children is logged by triggers on it.
    ["those of the parent", ["t"]],
  ])("without which triggers are hidden are missing, not the triggers: %s", async (_, hidden) => {
    await using other = await openBed(kind);
    await other.admin.query(PARENT_AND_CHILD);
    const rights = SOURCE.filter((right) => right !== "TRIGGER");
    await using user = await makeUser(other, ...rights);
    const name = new URL(user.options.url).username;
    for (const table of ["t", "c"]) await other.admin.query(`GRANT TRIGGER ON ${table} TO ${name}`);
    await trust(other, true);
    const captured = await other.capture("c");
    const revoked = { code: "TM-GRANT-MISSING", fix: expect.stringMatching(/^GRANT .*TRIGGER/) };
    let fix = "";
    const noteFix = (error: TidemarkError) => {
      fix = error.fix ?? "";
      throw error;
    };
    {
      await using opened = await openLog(user, captured);
      for (const table of hidden)
        await other.admin.query(`REVOKE TRIGGER ON ${table} FROM ${name}`);
      await expect(cutOnce(opened.log).catch(noteFix)).rejects.toMatchObject(revoked);
    }
    const errors = async () => {
      // A session keeps the rights on its database that it began with.
      const source = await mysql.openSource(user.options);
      const found = await source.diagnose(captured);
      await source.close();
      return found.filter(({ severity }) => severity === "error");
    };
    expect([...new Set((await errors()).map(({ check }) => check))]).toEqual(["trigger-right"]);
    await expect(capture(user.options, captured)).rejects.toMatchObject(revoked);
    await other.admin.query(fix);
    expect(await errors()).toEqual([]);
    await capture(user.options, captured);
    await trust(other, false);
  });

  it("that a renamed table lacks are named, not that it was dropped", async () => {
    await using other = await openBed(kind);
    await other.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    await using user = await makeUser(other, ...SOURCE.filter((each) => each !== "TRIGGER"));
    const name = new URL(user.options.url).username;
    await trust(other, true);
    const captured = await other.capture("t");
    await other.admin.query(`GRANT TRIGGER ON t TO ${name}`);
    await using opened = await openLog(user, captured);
    const look = () => opened.log.batches.look?.().catch((error: TidemarkError) => error);
    expect(await look()).toBe(true);
    // Rights on a table stay with its name.
    await other.admin.query("RENAME TABLE t TO u");
    const found = (await look()) as TidemarkError;
    if (found.code === "TM-GRANT-MISSING") {
      expect(found.message).toContain("t is gone, but not its triggers");
      expect(found.fix).toMatch(/^GRANT TRIGGER ON .*\.\* TO /);
      // A session keeps the rights on its database that it began with.
      await other.admin.query(`GRANT TRIGGER ON u TO ${name}`);
    }
    expect(await look()).toMatchObject({
      code: "TM-SCHEMA-DRIFT",
      message: "t was renamed to u.",
    });
    await other.admin.query("DROP TABLE u");
    expect(await look()).toMatchObject({ code: "TM-SCHEMA-DRIFT", message: "t was dropped." });
    await trust(other, false);
  });

  it("whose lack hides the triggers of a table that no sync carries are named by doctor", async () => {
    await using other = await openBed(kind);
    await other.admin.query("CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE c LIKE t");
    await using user = await makeUser(other, ...SOURCE.filter((each) => each !== "TRIGGER"));
    const name = new URL(user.options.url).username;
    for (const table of ["t", "c"]) await other.admin.query(`GRANT TRIGGER ON ${table} TO ${name}`);
    await trust(other, true);
    await capture(user.options, await other.capture("t", "c"));
    const ofTriggers = async () => {
      const source = await mysql.openSource(user.options);
      const found = await source.diagnose(await other.capture("t"));
      await source.close();
      return found.filter(({ check }) => ["trigger-right", "trigger-broken"].includes(check));
    };
    expect(await ofTriggers()).toEqual([]);
    await other.admin.query(`REVOKE TRIGGER ON c FROM ${name}`);
    const found = await ofTriggers();
    expect(found).toMatchObject([{ check: "trigger-right", severity: "warning" }]);
    expect(found[0]?.message).toContain("lacks the right TRIGGER on c");
    await other.admin.query(found[0]?.fix ?? "");
    expect(await ofTriggers()).toEqual([]);
    await trust(other, false);
  });

  it("without which triggers are hidden keep what those write to, and are named", async () => {
    await using other = await openBed(kind);
    await other.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    await capture(other.options, await other.capture("t"));
    await using user = await makeUser(other, "SELECT", "DROP");
    const uninstall = async () => {
      const catalog = await mysql.openCatalog(user.options);
      try {
        await catalog.uninstall();
        expect(await catalog.planUninstall()).toEqual([]);
      } finally {
        await catalog.close();
      }
    };
    await expect(uninstall()).rejects.toMatchObject({ code: "TM-GRANT-MISSING" });
    await other.admin.query("INSERT INTO t VALUES (1)");
    expect((await followFixes(other, uninstall)).join()).toContain("TRIGGER");
    await other.admin.query("INSERT INTO t VALUES (2)");
    await trust(other, false);
  });

  it("on a table that is captured do not show the trigger of one from which actions reach it", async () => {
    await using other = await openBed(kind);
    await other.admin.query(PARENT_AND_CHILD);
    await capture(other.options, await other.capture("c"));
    await using user = await makeUser(other, "SELECT", "DROP");
    const name = new URL(user.options.url).username;
    await other.admin.query(`GRANT TRIGGER ON c TO ${name}`);
    await trust(other, true);
    const uninstall = async () => {
      const catalog = await mysql.openCatalog(user.options);
      await catalog.uninstall().finally(() => catalog.close());
    };
    await expect(uninstall()).rejects.toMatchObject({ code: "TM-GRANT-MISSING" });
    await other.admin.query("INSERT INTO t VALUES (1, 1); UPDATE t SET id = 2; DELETE FROM t");
    await other.admin.query(`GRANT TRIGGER ON t TO ${name}`);
    await uninstall();
    await other.admin.query("INSERT INTO t VALUES (1, 1); UPDATE t SET id = 2; DELETE FROM t");
    const catalog = await mysql.openCatalog(other.options);
    expect(await catalog.planUninstall()).toEqual([]);
    await catalog.close();
    await trust(other, false);
  });

  it("do not help where the password has expired, which is told", async () => {
    await using user = await makeUser(bed, ...SOURCE);
    await bed.admin.query(`ALTER USER ${new URL(user.options.url).username} PASSWORD EXPIRE`);
    await expect(capture(user.options, tables)).rejects.toMatchObject({
      code: "TM-AUTH-FAILED",
      message: expect.stringContaining("expired"),
    });
  });
});

describe.each(SERVERS.filter(available))("triggers of another account on %s", (kind) => {
  const ALL = [...SOURCE, "LOCK TABLES"];

  async function prepared() {
    const bed = await openBed(kind);
    await trust(bed, true);
    await bed.admin.query(PARENT_AND_CHILD);
    const tables = await bed.capture("t", "c");
    const before = await makeUser(bed, ...ALL);
    await capture(before.options, tables);
    return { bed, tables, before };
  }

  it("are its own after a start, and outlive that one", async () => {
    const { bed, tables, before } = await prepared();
    await using _ = bed;
    await using user = await makeUser(bed, ...ALL);
    expect(await ownerFindings(user.options, tables)).toEqual(["warning", "warning"]);
    await capture(user.options, tables);
    expect(await ownerFindings(user.options, tables)).toEqual([]);
    await before[Symbol.asyncDispose]();
    await bed.admin.query(EACH_EVENT);
    expect(await logged(bed)).toBe("5");
  });

  it("are its own where it has its rights by a role only if triggers have them, too", async () => {
    const { bed, tables, before } = await prepared();
    await using _ = bed;
    await using _before = before;
    await using user = await makeRoleUser(bed, ...ALL);
    const warned: string[] = [];
    const logger = {
      ...silentLogger,
      warn: (...told: unknown[]) => warned.push(JSON.stringify(told)),
    };
    await capture({ ...user.options, logger }, tables);
    expect(warned.filter((text) => text.includes("belong to"))).toHaveLength(
      kind === "mysql" ? 0 : 1,
    );
    await bed.admin.query(EACH_EVENT);
    expect(await logged(bed)).toBe("5");
  });

  it("whose account is gone let the application write again after a start", async () => {
    const { bed, tables, before } = await prepared();
    await using _ = bed;
    await before[Symbol.asyncDispose]();
    await expect(bed.admin.query(EACH_EVENT)).rejects.toMatchObject({ errno: 1449 });
    expect(await ownerFindings(bed.options, tables)).toEqual(["error", "error"]);
    await using user = await makeUser(bed, ...ALL);
    await capture(user.options, tables);
    await bed.admin.query(EACH_EVENT);
    expect(await logged(bed)).toBe("5");
  });

  it("stay where it may not make them, or a transaction holds the table, and are told once", async () => {
    const { bed, tables, before } = await prepared();
    await using _ = bed;
    await using _before = before;
    await using user = await makeUser(bed, ...ALL);
    const holder = await bed.connect();
    for (const hinder of [() => trust(bed, false), () => holder.query("BEGIN; SELECT * FROM t")]) {
      await hinder();
      const warned: unknown[] = [];
      const warn = (_fields: object, message: string) => warned.push(message);
      await capture({ ...user.options, logger: { ...silentLogger, warn } }, tables);
      const told = warned.filter((message) => `${message}`.includes("error 1449"));
      expect(told).toEqual([expect.stringMatching(/^the triggers of t( \(and 1 more\))? belong/)]);
      await trust(bed, true);
    }
    await holder.query("ROLLBACK");
    await bed.admin.query(EACH_EVENT);
    expect(await logged(bed)).toBe("5");
  });

  async function ownerFindings(options: DatabaseOptions, tables: readonly CaptureTable[]) {
    const source = await mysql.openSource(options);
    try {
      const found = await source.diagnose(tables);
      return found.filter(({ check }) => check === "trigger-definer").map((each) => each.severity);
    } finally {
      await source.close();
    }
  }
});

describe.skipIf(!available("mysql"))("triggers that the server cannot replace", () => {
  it("log on when they may not be made anew", async () => {
    await using bed = await openBed("mysql");
    await bed.admin.query(PARENT_AND_CHILD);
    const tables = await bed.capture("t", "c");
    await using user = await makeUser(bed, ...SOURCE, "LOCK TABLES");
    await trust(bed, true);
    await capture(user.options, tables);
    await trust(bed, false);
    const narrower = tables.map((table) => ({ ...table, columns: ["id"] }));
    await expect(capture(user.options, narrower)).rejects.toMatchObject({
      code: "TM-GRANT-MISSING",
    });
    await bed.admin.query(EACH_EVENT);
    expect(await logged(bed)).toBe("5");
    await trust(bed, true);
    await capture(user.options, narrower);
    await trust(bed, false);
    await bed.admin.query(EACH_EVENT);
    expect(await logged(bed)).toBe("10");
  });

  it.each([
    ["between the old one and the new", true],
    ["with the new one made", false],
  ])("log each change once after a death %s", async (_, dropped) => {
    await using bed = await openBed("mysql");
    await bed.admin.query(PARENT_AND_CHILD);
    const tables = await bed.capture("t", "c");
    await capture(bed.options, tables);
    const [triggers] = (await bed.admin.query(
      "SELECT TRIGGER_NAME, CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION, ' ON ', EVENT_OBJECT_TABLE), ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
    )) as unknown as [string[][]];
    for (const [name, when, body] of triggers) {
      await bed.admin.query(`CREATE TRIGGER ${name}_next ${when} FOR EACH ROW ${body}`);
      if (dropped) await bed.admin.query(`DROP TRIGGER ${name}`);
    }
    await using opened = await openLog(bed, tables);
    await bed.admin.query(EACH_EVENT);
    const batch = await cutOnce(opened.log);
    expect(batch?.changes.map(({ op }) => op)).toEqual([
      "insert",
      "update",
      "insert",
      "delete",
      "delete",
    ]);
    // Three on each table, and three on the parent for what its key does to children.
    expect(triggers.length).toBe(9);
    const [count] = await bed.admin.query(
      "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
    );
    expect(count).toEqual([["9"]]);
  });
});
