import { describe } from "vitest";
import { registerSourceSuite } from "../../src/testing/index.ts";
import { available } from "../servers/index.ts";
import { mariadbBed } from "./mariadb-bed.ts";
import { postgresBed } from "./postgres-bed.ts";
import { sqliteBed } from "./sqlite-bed.ts";

registerSourceSuite("sqlite", sqliteBed);

for (const kind of ["postgres", "postgres-newest", "postgres-oldest"] as const) {
  describe.skipIf(!available(kind))(kind, () => registerSourceSuite(kind, () => postgresBed(kind)));
}
for (const kind of ["mariadb", "mysql"] as const) {
  describe.skipIf(!available(kind))(kind, () => registerSourceSuite(kind, () => mariadbBed(kind)));
}
