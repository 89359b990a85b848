CREATE TABLE customers (
  id bigint AUTO_INCREMENT PRIMARY KEY,
  email varchar(200) NOT NULL,
  name varchar(500) NOT NULL,
  born date,
  settings json NOT NULL DEFAULT ('{}'),
  created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY customers_email (email)
)

CREATE TABLE addresses (
  customer_id bigint NOT NULL,
  kind enum('billing', 'shipping') NOT NULL,
  street varchar(500) NOT NULL,
  city varchar(500) NOT NULL,
  zip char(5),
  PRIMARY KEY (customer_id, kind),
  FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE CASCADE
)

CREATE TABLE products (
  id bigint PRIMARY KEY,
  sku varchar(20) NOT NULL UNIQUE,
  title varchar(500) NOT NULL,
  price decimal(10,2) NOT NULL CHECK (price >= 0),
  gross decimal(10,2) AS (ROUND(price * 1.19, 2)) STORED,
  tags json NOT NULL DEFAULT ('[]')
)

CREATE TABLE stock (
  product_id bigint PRIMARY KEY,
  on_hand int NOT NULL CHECK (on_hand >= 0),
  reserved int NOT NULL DEFAULT 0,
  FOREIGN KEY (product_id) REFERENCES products (id)
)

CREATE TABLE orders (
  id bigint PRIMARY KEY,
  customer_id bigint NOT NULL,
  status enum('cart', 'placed', 'paid', 'shipped', 'cancelled') NOT NULL DEFAULT 'cart',
  total decimal(12,2) NOT NULL DEFAULT 0,
  placed_at datetime(6),
  updated_at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  KEY orders_of_customer (customer_id),
  FOREIGN KEY (customer_id) REFERENCES customers (id)
)

CREATE TABLE order_lines (
  order_id bigint NOT NULL,
  line smallint NOT NULL,
  product_id bigint NOT NULL,
  qty int unsigned NOT NULL CHECK (qty > 0),
  price decimal(10,2) NOT NULL,
  amount decimal(12,2) AS (qty * price) VIRTUAL,
  PRIMARY KEY (order_id, line),
  FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
  FOREIGN KEY (product_id) REFERENCES products (id)
)

CREATE TABLE payments (
  id char(36) CHARACTER SET ascii NOT NULL PRIMARY KEY,
  order_id bigint NOT NULL,
  amount decimal(12,2) NOT NULL,
  method varchar(40) NOT NULL,
  paid_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY (order_id) REFERENCES orders (id)
)

CREATE TRIGGER line_added AFTER INSERT ON order_lines FOR EACH ROW
BEGIN
  UPDATE orders SET total = total + NEW.qty * NEW.price WHERE id = NEW.order_id;
  UPDATE stock SET reserved = reserved + NEW.qty WHERE product_id = NEW.product_id;
END

CREATE TRIGGER line_changed AFTER UPDATE ON order_lines FOR EACH ROW
BEGIN
  UPDATE orders SET total = total - OLD.qty * OLD.price WHERE id = OLD.order_id;
  UPDATE stock SET reserved = reserved - OLD.qty WHERE product_id = OLD.product_id;
  UPDATE orders SET total = total + NEW.qty * NEW.price WHERE id = NEW.order_id;
  UPDATE stock SET reserved = reserved + NEW.qty WHERE product_id = NEW.product_id;
END

CREATE TRIGGER line_removed AFTER DELETE ON order_lines FOR EACH ROW
BEGIN
  UPDATE orders SET total = total - OLD.qty * OLD.price WHERE id = OLD.order_id;
  UPDATE stock SET reserved = reserved - OLD.qty WHERE product_id = OLD.product_id;
END

CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW SET NEW.updated_at = NOW(6)

CREATE VIEW order_overview AS
  SELECT o.id, c.name, o.total, COUNT(l.line) AS line_count
  FROM orders o JOIN customers c ON c.id = o.customer_id LEFT JOIN order_lines l ON l.order_id = o.id
  GROUP BY o.id, c.name, o.total
