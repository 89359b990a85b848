CREATE TABLE departments (
  code char(4) PRIMARY KEY,
  name varchar(40) NOT NULL UNIQUE,
  head_id int,
  headcount int NOT NULL DEFAULT 0
)

CREATE TABLE employees (
  id int PRIMARY KEY,
  email varchar(100) NOT NULL UNIQUE,
  full_name varchar(100) NOT NULL,
  born date NOT NULL CHECK (born > '1900-01-01'),
  gender enum('f', 'm', 'x') NOT NULL,
  hired date NOT NULL,
  manager_id int,
  department char(4),
  CHECK (hired > born),
  FOREIGN KEY (manager_id) REFERENCES employees (id) ON DELETE SET NULL,
  FOREIGN KEY (department) REFERENCES departments (code) ON UPDATE CASCADE
)

ALTER TABLE departments ADD FOREIGN KEY (head_id) REFERENCES employees (id) ON DELETE SET NULL

CREATE TABLE salaries (
  employee_id int NOT NULL,
  from_date date NOT NULL,
  to_date date NOT NULL DEFAULT '9999-01-01',
  amount decimal(10,2) NOT NULL,
  PRIMARY KEY (employee_id, from_date),
  CHECK (from_date < to_date),
  FOREIGN KEY (employee_id) REFERENCES employees (id) ON DELETE CASCADE
)

CREATE TABLE titles (
  employee_id int NOT NULL,
  title varchar(50) NOT NULL,
  from_date date NOT NULL,
  to_date date,
  PRIMARY KEY (employee_id, title, from_date),
  FOREIGN KEY (employee_id) REFERENCES employees (id) ON DELETE CASCADE
)

CREATE TRIGGER no_overlap BEFORE INSERT ON salaries FOR EACH ROW
BEGIN
  IF EXISTS (
    SELECT 1 FROM salaries s WHERE s.employee_id = NEW.employee_id
      AND s.from_date < NEW.to_date AND NEW.from_date < s.to_date AND s.from_date <> NEW.from_date
  ) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'two salaries at once';
  END IF;
END

CREATE TRIGGER head_added AFTER INSERT ON employees FOR EACH ROW
  UPDATE departments SET headcount = headcount + 1 WHERE code = NEW.department

CREATE TRIGGER head_moved AFTER UPDATE ON employees FOR EACH ROW
BEGIN
  UPDATE departments SET headcount = headcount - 1 WHERE code = OLD.department;
  UPDATE departments SET headcount = headcount + 1 WHERE code = NEW.department;
END

CREATE TRIGGER head_removed AFTER DELETE ON employees FOR EACH ROW
  UPDATE departments SET headcount = headcount - 1 WHERE code = OLD.department

CREATE VIEW current_salaries AS
  SELECT e.full_name, s.amount FROM employees e JOIN salaries s ON s.employee_id = e.id
  WHERE s.to_date = '9999-01-01'
