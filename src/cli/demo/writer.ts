// A process of its own: an application that knows nothing of Tidemark and keeps changing its
// database. Started with the database's path; ends when whoever started it is gone.
import { loadSqlite } from "../../core/sqlite-warning.ts";
import { CITIES, nameOf, STATUSES } from "./shop.ts";

const TRANSACTIONS_EVERY_MS = 40;
/** Orders are kept near this number, so that the demo can run for days. */
const ORDERS_KEPT = 1000;

const { DatabaseSync } = loadSqlite();
const shop = new DatabaseSync(process.argv[2] ?? "");
shop.exec("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL");

const statements = {
  // Customer 1 is left alone: the demo invites its user to change that row.
  someCustomer: shop.prepare("SELECT id FROM customers WHERE id > 1 ORDER BY random() LIMIT 1"),
  someOrder: shop.prepare("SELECT id FROM orders ORDER BY random() LIMIT 1"),
  countOrders: shop.prepare("SELECT count(*) AS count FROM orders"),
  addOrder: shop.prepare(
    "INSERT INTO orders (customer_id, total, status, created_at) VALUES (?, ?, 'new', datetime('now'))",
  ),
  moveOrder: shop.prepare("UPDATE orders SET status = ? WHERE id = ?"),
  dropOrders: shop.prepare(
    "DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT ?)",
  ),
  addCustomer: shop.prepare("INSERT INTO customers (name, city) VALUES (?, ?)"),
  moveCustomer: shop.prepare("UPDATE customers SET city = ? WHERE id = ?"),
  countCustomers: shop.prepare("SELECT count(*) AS count FROM customers"),
};

function pick<T>(values: readonly T[]): T | null {
  return values[Math.floor(Math.random() * values.length)] ?? null;
}

function numberOf(row: unknown, column: "id" | "count"): number {
  return Number((row as Record<string, unknown>)[column]);
}

/** One transaction as a shop makes them: an order comes in, some move on, now and then more. */
function transact(): void {
  shop.exec("BEGIN IMMEDIATE");
  statements.addOrder.run(
    numberOf(statements.someCustomer.get(), "id"),
    Math.ceil(Math.random() * 500),
  );
  for (let n = 0; n < 2; n++) {
    statements.moveOrder.run(pick(STATUSES), numberOf(statements.someOrder.get(), "id"));
  }
  const surplus = numberOf(statements.countOrders.get(), "count") - ORDERS_KEPT;
  if (surplus > 20) statements.dropOrders.run(surplus);
  if (Math.random() < 0.1) {
    statements.moveCustomer.run(pick(CITIES), numberOf(statements.someCustomer.get(), "id"));
  }
  if (Math.random() < 0.02 && numberOf(statements.countCustomers.get(), "count") < 500) {
    statements.addCustomer.run(nameOf(Math.floor(Math.random() * 64)), pick(CITIES));
  }
  shop.exec("COMMIT");
}

const timer = setInterval(transact, TRANSACTIONS_EVERY_MS);

let ended = false;

/** Told to end, or left alone: whichever comes first, and our own disconnect comes after. */
function end(): void {
  if (ended) return;
  ended = true;
  clearInterval(timer);
  shop.close();
  if (process.connected) process.disconnect?.();
}

// Ctrl-C, a terminal that is closed and a service manager reach the whole group: the one that started us decides when we end.
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) process.on(signal, () => {});
process.once("message", end);
process.once("disconnect", end);
