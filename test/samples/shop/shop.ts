// A shop: customers with addresses, products and their stock, orders with lines and payments.
// Triggers of the application keep each order's total and what is reserved of each product.
import type { Random } from "../../support/random.ts";
import type { Dialect } from "../../support/sql-client.ts";
import { exchange, type Sample, upTo } from "../sample.ts";

const CUSTOMERS = 12;
const PRODUCTS = 10;
const ORDERS = 30;

const email = (id: number) => `customer${id}@example.com`;

export const SHOP: Sample = { name: "shop", fill, change };

function fill(dialect: Dialect): readonly string[] {
  return [
    ...upTo(CUSTOMERS).map(
      (id) =>
        `INSERT INTO customers (id, email, name, born) VALUES (${id}, '${email(id)}', 'Zoë O''Neill ${id}', '19${60 + id}-02-28')`,
    ),
    ...(dialect === "postgres" ? ["SELECT setval('customers_id_seq', 100)"] : []),
    ...upTo(CUSTOMERS).map(
      (id) =>
        `INSERT INTO addresses (customer_id, kind, street, city, zip) VALUES (${id}, 'billing', 'Straße ${id}', 'Köln', '5066${id % 10}')`,
    ),
    ...upTo(PRODUCTS).map(
      (id) =>
        `INSERT INTO products (id, sku, title, price, tags) VALUES (${id}, 'SKU-${id}', 'Product ${id}', ${id}.90, ${tags(dialect, ["new", "on sale"])})`,
    ),
    ...upTo(PRODUCTS).map(
      (id) => `INSERT INTO stock (product_id, on_hand) VALUES (${id}, ${id * 3})`,
    ),
    ...upTo(8).flatMap((id) => order(id, id, [id, (id % PRODUCTS) + 1])),
  ];
}

function change(random: Random, dialect: Dialect): readonly string[] {
  const customer = () => random.between(1, CUSTOMERS);
  const product = () => random.between(1, PRODUCTS);
  const id = random.between(1, ORDERS);
  switch (
    random.pick(["order", "order", "pay", "ship", "more", "cancel", "forget", "customer", "rest"])
  ) {
    case "order":
      return order(id, customer(), [product(), product(), product()]);
    case "pay":
      return [
        `INSERT INTO payments (id, order_id, amount, method, paid_at) SELECT '${uuid(random)}', id, total, 'card', '2026-03-0${random.between(1, 9)} 12:30:00' FROM orders WHERE id = ${id}`,
        `UPDATE orders SET status = 'paid', placed_at = '2026-03-01 08:00:00.25' WHERE id = ${id}`,
      ];
    case "ship":
      return [
        `UPDATE stock SET on_hand = on_hand - ${random.between(1, 4)} WHERE product_id = ${product()}`,
        `UPDATE orders SET status = 'shipped' WHERE id = ${id}`,
      ];
    case "more":
      return [
        `UPDATE order_lines SET qty = qty + ${random.between(1, 3)} WHERE order_id BETWEEN ${id} AND ${id + 3}`,
        `UPDATE order_lines SET line = line + 10 WHERE order_id = ${id} AND line < 10`,
      ];
    case "cancel":
      return [
        `DELETE FROM order_lines WHERE order_id = ${id}`,
        `UPDATE orders SET status = 'cancelled' WHERE id = ${id}`,
      ];
    case "forget":
      return [
        `DELETE FROM payments WHERE order_id = ${id}`,
        `DELETE FROM orders WHERE id = ${id}`,
        `DELETE FROM customers WHERE id > ${CUSTOMERS + 3}`,
      ];
    case "customer":
      // Numbered by the database.
      return [
        `INSERT INTO customers (email, name) VALUES ('new${random.between(1, 999)}@example.com', 'New')`,
        `DELETE FROM addresses WHERE customer_id = ${customer()}`,
        `INSERT INTO addresses (customer_id, kind, street, city) VALUES (${customer()}, 'shipping', 'Quai d''Orsay 1', 'Paris')`,
      ];
    case "rest":
      return [
        `UPDATE products SET price = round(price * 1.05, 2), tags = ${tags(dialect, [`round ${id}`])} WHERE id = ${product()}`,
        `UPDATE customers SET settings = '{"theme": "dark", "size": ${id}}' WHERE id = ${customer()}`,
        ...exchange({ table: "customers", column: "email" }, email, [customer(), customer()]),
      ];
  }
}

function order(id: number, customer: number, products: readonly number[]): readonly string[] {
  return [
    `INSERT INTO orders (id, customer_id, status) VALUES (${id}, ${customer}, 'placed')`,
    ...products.map(
      (product, i) =>
        `INSERT INTO order_lines (order_id, line, product_id, qty, price) SELECT ${id}, ${i + 1}, id, ${i + 1}, price FROM products WHERE id = ${product}`,
    ),
  ];
}

function tags(dialect: Dialect, texts: readonly string[]): string {
  const list = texts.map((text) => `"${text}"`).join(",");
  return dialect === "postgres" ? `'{${list}}'` : `'[${list}]'`;
}

function uuid(random: Random): string {
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => random.between(0, 15).toString(16)).join("");
  return `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
}
