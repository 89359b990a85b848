import { registerSourceSuite } from "../../src/testing/index.ts";
import { sqliteBed } from "./sqlite-bed.ts";

registerSourceSuite("sqlite", sqliteBed);
