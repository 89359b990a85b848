import { describe } from "vitest";
import { registerTargetSuite } from "../../src/testing/index.ts";
import { available } from "../servers/index.ts";
import { mariadbBed } from "./mariadb-bed.ts";
import { postgresBed } from "./postgres-bed.ts";
import { sqliteBed } from "./sqlite-bed.ts";

registerTargetSuite("sqlite", sqliteBed);

for (const kind of ["postgres", "postgres-newest", "postgres-oldest"] as const) {
  describe.skipIf(!available(kind))(kind, () => registerTargetSuite(kind, () => postgresBed(kind)));
}
for (const kind of ["mariadb", "mysql"] as const) {
  describe.skipIf(!available(kind))(kind, () => registerTargetSuite(kind, () => mariadbBed(kind)));
}
