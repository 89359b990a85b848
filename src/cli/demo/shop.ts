import { loadSqlite } from "../../core/sqlite-warning.ts";

const FIRST_NAMES = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Hedy", "Linus"];
const LAST_NAMES = [
  "Lovelace",
  "Hopper",
  "Turing",
  "Dijkstra",
  "Liskov",
  "Knuth",
  "Lamarr",
  "Ritchie",
];
export const CITIES = ["Lisbon", "Oslo", "Kyoto", "Quito", "Nairobi", "Tallinn"];
export const STATUSES = ["new", "paid", "packed", "sent"];

const CUSTOMERS = 200;
const ORDERS = 800;

/** Makes the demo's source with some rows, if it is not there yet. Atomic: killed half-way, it leaves nothing. */
export function createShop(path: string): void {
  const { DatabaseSync } = loadSqlite();
  const shop = new DatabaseSync(path);
  try {
    shop.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE");
    if (!hasTables(shop)) fill(shop);
    shop.exec("COMMIT");
  } finally {
    shop.close();
  }
}

type Database = InstanceType<ReturnType<typeof loadSqlite>["DatabaseSync"]>;

function hasTables(shop: Database): boolean {
  return (
    shop.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'orders'").get() !==
    undefined
  );
}

function fill(shop: Database): void {
  shop.exec(`
    CREATE TABLE customers (
      id INTEGER PRIMARY KEY,
      name TEXT NOT NULL,
      city TEXT
    );
    CREATE TABLE orders (
      id INTEGER PRIMARY KEY,
      customer_id INTEGER NOT NULL REFERENCES customers (id),
      total NUMERIC NOT NULL,
      status TEXT NOT NULL,
      created_at TEXT NOT NULL
    );
  `);
  const customer = shop.prepare("INSERT INTO customers (name, city) VALUES (?, ?)");
  for (let n = 0; n < CUSTOMERS; n++) customer.run(nameOf(n), CITIES[n % CITIES.length] ?? null);
  const order = shop.prepare(
    "INSERT INTO orders (customer_id, total, status, created_at) VALUES (?, ?, ?, datetime('now'))",
  );
  for (let n = 0; n < ORDERS; n++) {
    order.run(
      2 + ((n * 7) % (CUSTOMERS - 1)),
      5 + ((n * 37) % 500),
      STATUSES[n % STATUSES.length] ?? "",
    );
  }
}

export function nameOf(n: number): string {
  const first = FIRST_NAMES[n % FIRST_NAMES.length];
  const last = LAST_NAMES[Math.floor(n / FIRST_NAMES.length) % LAST_NAMES.length];
  return `${first} ${last}`;
}
