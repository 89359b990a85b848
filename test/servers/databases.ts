// A new, empty database for each test: tests never see each other's tables.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mysql from "mysql2/promise";
import pg from "pg";
import { SERVERS, type ServerName, urlOf, whyMissing } from "./set.ts";

export type PostgresKind = "postgres" | "postgres-newest" | "postgres-oldest";
export type DatabaseKind = PostgresKind | "mariadb" | "mysql" | "sqlite";

export interface FreshDatabase extends AsyncDisposable {
  readonly kind: DatabaseKind;
  readonly url: string;
}

export interface FreshOptions {
  /** The address of a server of the test's own (`startPostgres().url`) instead of the shared one. */
  readonly server?: string;
  /** SQLite: the folder for its file, instead of one of its own. */
  readonly within?: string;
}

/** Creates a database. It is dropped at the end, unless TIDEMARK_TEST_KEEP=1 asks to keep it. */
export async function freshDatabase(
  kind: DatabaseKind,
  options: FreshOptions = {},
): Promise<FreshDatabase> {
  const { url, drop } = await create(kind, options);
  return {
    kind,
    url,
    async [Symbol.asyncDispose]() {
      if (process.env.TIDEMARK_TEST_KEEP) console.log(`kept: ${url}`);
      // A server of the test's own may be down by now, and is removed as a whole.
      else if (!options.server && !options.within) await drop();
    },
  };
}

/** The address of a shared server; an error that says why when there is none. */
export function serverUrl(name: ServerName): string {
  const url = urlOf(name);
  if (url) return url;
  throw new Error(
    `${name}: ${whyMissing(name) ?? `not running: ${SERVERS[name].variable} or start`}`,
  );
}

export function natsUrl(): string {
  return serverUrl("nats");
}

interface Created {
  readonly url: string;
  readonly drop: () => Promise<void>;
}

function create(kind: DatabaseKind, options: FreshOptions): Promise<Created> {
  if (kind === "sqlite") return createSqlite(options.within);
  const server = options.server ?? serverUrl(kind);
  const name = `tm_${randomBytes(6).toString("hex")}`;
  return kind === "mariadb" || kind === "mysql"
    ? createMysql(server, name)
    : createPostgres(server, name);
}

async function createSqlite(within = tmpdir()): Promise<Created> {
  const folder = mkdtempSync(join(within, "tidemark-sqlite-"));
  return {
    url: `sqlite:${join(folder, "test.db")}`,
    drop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function createPostgres(server: string, name: string): Promise<Created> {
  const run = (sql: string) => withAdmin(postgresAdmins, server, (client) => client.query(sql));
  await run(`CREATE DATABASE ${name}`);
  // Forced: a test that failed half-way may have left connections open.
  return { url: withDatabase(server, name), drop: () => run(`DROP DATABASE ${name} WITH (FORCE)`) };
}

async function createMysql(server: string, name: string): Promise<Created> {
  const asAdmin = (work: (connection: mysql.Connection) => Promise<unknown>) =>
    withAdmin(mysqlAdmins, server, work);
  await asAdmin((connection) => connection.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`));
  return {
    url: withDatabase(server, name),
    drop: () => asAdmin((connection) => dropMysql(connection, name)),
  };
}

const FOLDER_NOT_EMPTY = 1010;

/** Once in thousands of databases MariaDB 10.11 leaves a file in the folder that it then cannot remove: which is said, and the rest done. */
async function dropMysql(connection: mysql.Connection, name: string): Promise<void> {
  try {
    await connection.query(`DROP DATABASE ${name}`);
  } catch (error) {
    if ((error as { errno?: number }).errno !== FOLDER_NOT_EMPTY) throw error;
    const [[found]] = await connection.query<mysql.RowDataPacket[]>("SELECT @@datadir AS folder");
    console.warn(`${name}: ${error}; left: ${readdirSync(join(found?.folder, name)).join(", ")}`);
    await connection.query(`DROP DATABASE IF EXISTS ${name}`);
  }
}

/** A session that makes and drops databases: to open one costs the server more than to make a database. */
interface Admin<T> {
  readonly session: T;
  /** What keeps this process from ending: only while the session is used. Neither driver's types tell of it. */
  readonly socket: { ref(): void; unref(): void };
  users: number;
}

interface Admins<T> {
  readonly open: (server: string, onLost: () => void) => Promise<Admin<T>>;
  readonly opened: Map<string, Promise<Admin<T>>>;
}

const postgresAdmins: Admins<pg.Client> = {
  opened: new Map(),
  async open(connectionString, onLost) {
    const session = new pg.Client({ connectionString });
    session.on("error", onLost);
    await session.connect();
    return { session, socket: session as unknown as Admin<pg.Client>["socket"], users: 0 };
  },
};

const mysqlAdmins: Admins<mysql.Connection> = {
  opened: new Map(),
  async open(uri, onLost) {
    const session = await mysql.createConnection({ uri });
    session.on("error", onLost);
    const { connection } = session as unknown as {
      connection: { stream: Admin<mysql.Connection>["socket"] };
    };
    return { session, socket: connection.stream, users: 0 };
  },
};

async function withAdmin<T>(
  { open, opened }: Admins<T>,
  server: string,
  work: (session: T) => Promise<unknown>,
): Promise<void> {
  const forget = () => opened.delete(server);
  const opening = opened.get(server) ?? open(server, forget);
  opened.set(server, opening);
  opening.catch(forget);
  const admin = await opening;
  if (admin.users++ === 0) admin.socket.ref();
  try {
    await work(admin.session);
  } finally {
    if (--admin.users === 0) admin.socket.unref();
  }
}

function withDatabase(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
