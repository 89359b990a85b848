// An HR system: departments and their heads, employees and their managers, salaries that never
// overlap, titles over time. Triggers of the application count heads.
import type { Random } from "../../support/random.ts";
import type { Dialect } from "../../support/sql-client.ts";
import { exchange, type Sample, upTo } from "../sample.ts";

const DEPARTMENTS = 4;
const PEOPLE = 20;
const NOW = "9999-01-01";

const email = (id: number) => `person${id}@example.com`;
const code = (n: number) => `d00${n}`;

export const STAFF: Sample = { name: "staff", fill, change };

function fill(): readonly string[] {
  return [
    ...upTo(DEPARTMENTS).map(
      (n) => `INSERT INTO departments (code, name) VALUES ('${code(n)}', 'Department ${n}')`,
    ),
    ...upTo(12).flatMap((id) => hire(id, (id % DEPARTMENTS) + 1, id === 1 ? null : id >> 1)),
    "UPDATE departments SET head_id = 2 WHERE code = 'd001'",
  ];
}

function change(random: Random, dialect: Dialect): readonly string[] {
  const person = () => random.between(1, PEOPLE);
  const id = person();
  const department = random.between(1, DEPARTMENTS);
  const day = `20${10 + random.between(0, 15)}-0${random.between(1, 9)}-01`;
  switch (
    random.pick(["hire", "raise", "raise", "raise", "promote", "move", "leave", "head", "rename"])
  ) {
    case "hire":
      return hire(id, department, random.between(1, 12));
    case "raise": {
      // The one that runs ends, another begins.
      const one = (who: number) => [
        `UPDATE salaries SET to_date = '${day}' WHERE employee_id = ${who} AND to_date = '${NOW}'`,
        `INSERT INTO salaries (employee_id, from_date, amount) SELECT id, '${day}', ${random.between(30_000, 90_000)}.55 FROM employees WHERE id = ${who}`,
      ];
      return [...one(id), ...(random.chance(0.5) ? one(person()) : [])];
    }
    case "promote":
      return [
        `UPDATE titles SET to_date = '${day}' WHERE employee_id = ${id} AND to_date IS NULL`,
        `INSERT INTO titles (employee_id, title, from_date) SELECT id, 'Senior', '${day}' FROM employees WHERE id = ${id}`,
        `UPDATE salaries SET amount = round(amount * 1.02, 2) WHERE to_date = '${NOW}'`,
      ];
    case "move":
      return [
        `UPDATE employees SET department = '${code(department)}' WHERE id = ${id}`,
        `UPDATE employees SET manager_id = ${id} WHERE id > ${id} AND department = '${code(department)}'`,
      ];
    case "leave":
      return [`DELETE FROM employees WHERE id = ${id}`];
    case "head":
      return [
        `UPDATE departments SET head_id = ${id} WHERE code = '${code(department)}'`,
        ...exchange({ table: "employees", column: "email" }, email, [id, person()]),
      ];
    case "rename":
      return [
        `UPDATE departments SET code = 'x', name = 'Renamed ${id}' WHERE code = '${code(department)}'`,
        `UPDATE departments SET code = '${code(department)}' WHERE code = 'x'`,
        ...(dialect === "mariadb"
          ? []
          : [`UPDATE employees SET id = ${id + 100} WHERE id = ${id}`]),
        ...(dialect === "mariadb"
          ? []
          : [`UPDATE employees SET id = ${id} WHERE id = ${id + 100}`]),
      ];
  }
}

function hire(id: number, department: number, manager: number | null): readonly string[] {
  return [
    `INSERT INTO employees (id, email, full_name, born, gender, hired, manager_id, department) VALUES (${id}, '${email(id)}', 'Ærø ${id}', '1970-01-${String(id).padStart(2, "0")}', 'x', '2001-05-01', ${manager ?? "NULL"}, '${code(department)}')`,
    `INSERT INTO salaries (employee_id, from_date, amount) VALUES (${id}, '2001-05-01', ${20_000 + id}.10)`,
    `INSERT INTO titles (employee_id, title, from_date) VALUES (${id}, 'Junior', '2001-05-01')`,
  ];
}
