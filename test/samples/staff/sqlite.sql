CREATE TABLE departments (
  code CHAR(4) NOT NULL PRIMARY KEY,
  name VARCHAR(40) NOT NULL UNIQUE,
  head_id INTEGER REFERENCES employees ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
  headcount INT NOT NULL DEFAULT 0
)

CREATE TABLE employees (
  id INTEGER PRIMARY KEY,
  email VARCHAR(100) NOT NULL UNIQUE,
  full_name VARCHAR(100) NOT NULL,
  born DATE NOT NULL CHECK (born > '1900-01-01'),
  gender TEXT NOT NULL CHECK (gender IN ('f', 'm', 'x')),
  hired DATE NOT NULL,
  manager_id INTEGER REFERENCES employees ON DELETE SET NULL ON UPDATE CASCADE,
  department CHAR(4) REFERENCES departments ON UPDATE CASCADE,
  CHECK (hired > born)
)

CREATE TABLE salaries (
  employee_id INTEGER NOT NULL REFERENCES employees ON DELETE CASCADE ON UPDATE CASCADE,
  from_date DATE NOT NULL,
  to_date DATE NOT NULL DEFAULT '9999-01-01',
  amount DECIMAL(10,2) NOT NULL,
  PRIMARY KEY (employee_id, from_date),
  CHECK (from_date < to_date)
)

CREATE TABLE titles (
  employee_id INTEGER NOT NULL REFERENCES employees ON DELETE CASCADE ON UPDATE CASCADE,
  title VARCHAR(50) NOT NULL,
  from_date DATE NOT NULL,
  to_date DATE,
  PRIMARY KEY (employee_id, title, from_date)
)

CREATE TRIGGER no_overlap BEFORE INSERT ON salaries
WHEN EXISTS (
  SELECT 1 FROM salaries s WHERE s.employee_id = NEW.employee_id
    AND s.from_date < NEW.to_date AND NEW.from_date < s.to_date AND s.from_date <> NEW.from_date
) BEGIN
  SELECT RAISE(ABORT, 'two salaries at once');
END

CREATE TRIGGER head_added AFTER INSERT ON employees BEGIN
  UPDATE departments SET headcount = headcount + 1 WHERE code = NEW.department;
END

CREATE TRIGGER head_moved AFTER UPDATE OF department ON employees BEGIN
  UPDATE departments SET headcount = headcount - 1 WHERE code = OLD.department;
  UPDATE departments SET headcount = headcount + 1 WHERE code = NEW.department;
END

CREATE TRIGGER head_removed AFTER DELETE ON employees BEGIN
  UPDATE departments SET headcount = headcount - 1 WHERE code = OLD.department;
END

CREATE VIEW current_salaries AS
  SELECT e.full_name, s.amount FROM employees e JOIN salaries s ON s.employee_id = e.id
  WHERE s.to_date = '9999-01-01'
