CREATE TABLE customers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  email TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  born DATE,
  settings JSON NOT NULL DEFAULT '{}',
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
)

CREATE TABLE addresses (
  customer_id INTEGER NOT NULL REFERENCES customers ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('billing', 'shipping')),
  street TEXT NOT NULL,
  city TEXT NOT NULL,
  zip TEXT,
  PRIMARY KEY (customer_id, kind)
) WITHOUT ROWID

CREATE TABLE products (
  id INTEGER PRIMARY KEY,
  sku VARCHAR(20) NOT NULL UNIQUE,
  title TEXT NOT NULL,
  price DECIMAL(10,2) NOT NULL CHECK (price >= 0),
  gross DECIMAL(10,2) AS (round(price * 1.19, 2)) STORED,
  tags JSON NOT NULL DEFAULT '[]'
)

CREATE TABLE stock (
  product_id INTEGER PRIMARY KEY REFERENCES products,
  on_hand INT NOT NULL CHECK (on_hand >= 0),
  reserved INT NOT NULL DEFAULT 0
)

CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers,
  status TEXT NOT NULL DEFAULT 'cart',
  total DECIMAL(12,2) NOT NULL DEFAULT 0,
  placed_at DATETIME,
  updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
)

CREATE INDEX orders_of_customer ON orders (customer_id)

CREATE TABLE order_lines (
  order_id INTEGER NOT NULL REFERENCES orders ON DELETE CASCADE,
  line SMALLINT NOT NULL,
  product_id INTEGER NOT NULL REFERENCES products,
  qty INT NOT NULL CHECK (qty > 0),
  price DECIMAL(10,2) NOT NULL,
  amount DECIMAL(12,2) AS (qty * price) VIRTUAL,
  PRIMARY KEY (order_id, line)
)

CREATE TABLE payments (
  id UUID NOT NULL PRIMARY KEY,
  order_id INTEGER NOT NULL REFERENCES orders,
  amount DECIMAL(12,2) NOT NULL,
  method TEXT NOT NULL,
  paid_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
)

CREATE TRIGGER line_added AFTER INSERT ON order_lines BEGIN
  UPDATE orders SET total = total + NEW.qty * NEW.price WHERE id = NEW.order_id;
  UPDATE stock SET reserved = reserved + NEW.qty WHERE product_id = NEW.product_id;
END

CREATE TRIGGER line_changed AFTER UPDATE ON order_lines BEGIN
  UPDATE orders SET total = total - OLD.qty * OLD.price WHERE id = OLD.order_id;
  UPDATE stock SET reserved = reserved - OLD.qty WHERE product_id = OLD.product_id;
  UPDATE orders SET total = total + NEW.qty * NEW.price WHERE id = NEW.order_id;
  UPDATE stock SET reserved = reserved + NEW.qty WHERE product_id = NEW.product_id;
END

CREATE TRIGGER line_removed AFTER DELETE ON order_lines BEGIN
  UPDATE orders SET total = total - OLD.qty * OLD.price WHERE id = OLD.order_id;
  UPDATE stock SET reserved = reserved - OLD.qty WHERE product_id = OLD.product_id;
END

CREATE TRIGGER touch AFTER UPDATE OF customer_id, status, total, placed_at ON orders BEGIN
  UPDATE orders SET updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = NEW.id;
END

CREATE VIEW order_overview AS
  SELECT o.id, c.name, o.total, count(l.line) AS line_count
  FROM orders o JOIN customers c ON c.id = o.customer_id LEFT JOIN order_lines l ON l.order_id = o.id
  GROUP BY o.id, c.name, o.total
