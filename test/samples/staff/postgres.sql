CREATE EXTENSION IF NOT EXISTS btree_gist

CREATE TYPE gender AS ENUM ('f', 'm', 'x')

CREATE TABLE departments (
  code char(4) PRIMARY KEY,
  name varchar(40) NOT NULL UNIQUE,
  head_id integer,
  headcount integer NOT NULL DEFAULT 0
)

CREATE TABLE employees (
  id integer PRIMARY KEY,
  email varchar(100) NOT NULL UNIQUE,
  full_name varchar(100) NOT NULL,
  born date NOT NULL CHECK (born > '1900-01-01'),
  gender gender NOT NULL,
  hired date NOT NULL,
  manager_id integer REFERENCES employees ON DELETE SET NULL ON UPDATE CASCADE,
  department char(4) REFERENCES departments ON UPDATE CASCADE,
  CHECK (hired > born)
)

ALTER TABLE departments ADD FOREIGN KEY (head_id) REFERENCES employees (id)
  ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED

CREATE TABLE salaries (
  employee_id integer NOT NULL REFERENCES employees ON DELETE CASCADE ON UPDATE CASCADE,
  from_date date NOT NULL,
  to_date date NOT NULL DEFAULT '9999-01-01',
  amount numeric(10,2) NOT NULL,
  PRIMARY KEY (employee_id, from_date),
  CHECK (from_date < to_date),
  EXCLUDE USING gist (employee_id WITH =, daterange(from_date, to_date) WITH &&)
)

CREATE TABLE titles (
  employee_id integer NOT NULL REFERENCES employees ON DELETE CASCADE ON UPDATE CASCADE,
  title varchar(50) NOT NULL,
  from_date date NOT NULL,
  to_date date,
  PRIMARY KEY (employee_id, title, from_date)
)

CREATE FUNCTION count_heads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    UPDATE departments SET headcount = headcount - 1 WHERE code = OLD.department;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    UPDATE departments SET headcount = headcount + 1 WHERE code = NEW.department;
  END IF;
  RETURN NULL;
END $$

CREATE TRIGGER count_heads AFTER INSERT OR DELETE OR UPDATE OF department ON employees
  FOR EACH ROW EXECUTE FUNCTION count_heads()

CREATE VIEW current_salaries AS
  SELECT e.full_name, s.amount FROM employees e JOIN salaries s ON s.employee_id = e.id
  WHERE s.to_date = '9999-01-01'
