import { registerTargetSuite } from "../../src/testing/index.ts";
import { sqliteBed } from "./sqlite-bed.ts";

registerTargetSuite("sqlite", sqliteBed);
