import { z } from "zod";
import type { DeliverFunction, RowFilter, Transform } from "../core/definition.ts";
import { parseDuration, parseSize } from "./units.ts";

/**
 * The one description of the config: it validates, gives the TypeScript types of `defineConfig`
 * and the JSON Schema for editors (docs/reference/tidemark.schema.json).
 */

const text = z.string().min(1, "must not be empty");

const url = text.regex(
  /^([a-z][a-z0-9+.-]*:|\$\{)/i, // editors see ${ENV} before it is filled in
  "must be a connection URL such as postgres://user@host/database or sqlite:./file.db",
);

/** A name becomes part of stream names and document keys. */
const name = z
  .string()
  .regex(
    /^[A-Za-z][A-Za-z0-9_-]{0,62}$/,
    "must begin with a letter and hold letters, digits, - or _",
  );

const size = z
  .union([z.string(), z.int().positive()], { error: "must be a size such as 500MB or 1GiB" })
  .refine((value) => parseSize(String(value)) !== null, "must be a size such as 500MB or 1GiB");

const NOTHING = /^\s*0+\s*(ms|s|m|h)\s*$/i;

/** Nothing, or for a while. */
const whileOrNothing = z
  .string({ error: "must be a duration such as 30s, 5m or 0s" })
  .refine(
    (value) => NOTHING.test(value) || parseDuration(value) !== null,
    "must be a duration such as 30s, 5m or 0s",
  );

const columnList = z.array(text).min(1, "must name at least one column");

function functionOf<T>(): z.ZodCustom<T, T> {
  return z.custom<T>((value) => typeof value === "function", "must be a function");
}

const truncate = z.enum(["apply", "ignore", "stop"], {
  error: "must be apply, ignore or stop",
});

const onError = z.enum(["stop", "park"], { error: "must be stop or park" });

const tableObject = z.strictObject({
  table: text.describe("Source table: public.orders, or a glob: public.*"),
  as: text.optional().describe("Name at the target. Default: the same name. Not with a glob."),
  columns: columnList.optional().describe("Only these columns; the key must be among them."),
  except: columnList.optional().describe("All columns but these. Not together with columns."),
  // SQLite takes an empty name, which no other database does.
  rename: z
    .record(z.string(), text)
    .optional()
    .describe("Column names: source name to target name."),
  where: text
    .optional()
    .describe(
      "SQL condition over the row, in the source's dialect. A row that leaves it is deleted at the target.",
    ),
  truncate: truncate.optional().describe("As for the sync, for this table."),
  onError: onError.optional().describe("As for the sync, for this table."),
  filter: functionOf<RowFilter>()
    .optional()
    .describe("Only in .ts and .js: keeps a row when it returns true."),
  transform: functionOf<Transform>()
    .optional()
    .describe("Only in .ts and .js: gives the row to write, or null to leave it out."),
});

const table = z.union([text, tableObject], {
  error: "must be a table name such as public.orders, or an object with `table`",
});

const sync = z.strictObject({
  name: name
    .optional()
    .describe("Default: from->to. The name under which progress is kept at the target."),
  from: text.describe("Name of the source database."),
  to: z
    .union(
      [
        text,
        z
          .array(text)
          .min(1, "must name at least one database")
          .refine((names) => new Set(names).size === names.length, "names a database twice"),
      ],
      { error: "must be the name of a database, or a list of names" },
    )
    .describe("Name of the target database, or a list of names."),
  tables: z
    .array(table, { error: 'must be a list of tables, such as ["public.*"]' })
    .min(1, "must name at least one table")
    .describe("What to sync. A table named in full goes before a glob that matches it too."),
  except: z
    .array(text, { error: 'must be a list of tables, such as ["public.audit_*"]' })
    .min(1, "must name at least one table")
    .optional()
    .describe("Tables that the globs of `tables` leave out: names or globs."),
  truncate: truncate
    .optional()
    .describe(
      "What a TRUNCATE at the source does at the target: apply (the default), ignore (its rows stay) or stop (the sync stops).",
    ),
  onError: onError
    .optional()
    .describe(
      "What becomes of a row for which `where`, `filter` or `transform` fails: stop (the default: the sync stops) or park (it is set aside; `tidemark parked` shows it).",
    ),
});

const databaseObject = z.strictObject({ url: url.describe("Connection URL.") });

const database = z.union([url, databaseObject, functionOf<DeliverFunction>()], {
  error: "must be a connection URL, an object with `url`, or (in .ts and .js) a function",
});

const queueObject = z.strictObject({
  url: url.optional().describe("Default: sqlite:./.tidemark/queue.db"),
  maxSize: size
    .optional()
    .describe(
      "Bound of one source's stream in the queue. Default: 1GiB, which a single batch that is larger may pass.",
    ),
});

export const configSchema = z.strictObject({
  $schema: z.string().optional().describe("For editors."),
  databases: z
    .record(name, database, { error: "must map names to connection URLs" })
    .refine((value) => Object.keys(value).length > 0, "must name at least one database")
    .describe(`Named connections. A password is best given as \${ENV_NAME}.`),
  queue: z
    .union([url, queueObject], { error: "must be a URL, or an object with `url` and `maxSize`" })
    .optional()
    .describe("sqlite:path (the default) or nats://host."),
  syncs: z
    .array(sync, { error: "must be a list of syncs, each with `from`, `to` and `tables`" })
    .min(1, "must hold at least one sync")
    .describe("Each: one source, one or more targets, and tables."),
  retention: z
    .strictObject({
      log: size
        .optional()
        .describe(
          "Bound of the change log in a source; past it a target that lags loses its place and must be copied anew. Default: 10GiB.",
        ),
      applied: whileOrNothing
        .optional()
        .describe(
          "How long what every target has applied stays in the log, for one that loses its last commits in a failover. Default: 30s.",
        ),
    })
    .optional()
    .describe("What is kept in the change log, and how much."),
});

const sizeInBytes = z.number().positive("must be more than 0");

/** What the engine reads (core/definition.ts), where a program has put it together itself. */
export const definitionSchema = z.strictObject({
  databases: z.array(
    z.union([
      z.strictObject({ name: text, url: text }),
      z.strictObject({ name: text, deliver: functionOf<DeliverFunction>() }),
    ]),
  ),
  queue: z.strictObject({
    url: text,
    maxStreamBytes: sizeInBytes,
    isBoundSoft: z.boolean().optional(),
  }),
  syncs: z.array(
    z.strictObject({
      name: text,
      from: text,
      to: text,
      // A program may have found nothing to leave out.
      tables: z
        .array(tableObject.extend({ except: z.array(text).optional() }))
        .min(1, "must name at least one table"),
      except: z.array(text).optional(),
    }),
  ),
  retention: z.strictObject({ maxLogBytes: sizeInBytes, keptMs: z.number().nonnegative() }),
});

/** A config as people write it: what `defineConfig` takes. */
export type Config = z.input<typeof configSchema>;
export type SyncConfig = Config["syncs"][number];
export type TableConfig = SyncConfig["tables"][number];

/** The keys known at a place of the config, for suggestions; null where keys are the user's own. */
export function knownKeys(path: readonly PropertyKey[]): readonly string[] {
  const [first] = path;
  if (first === undefined) return Object.keys(configSchema.shape);
  if (first === "databases") return Object.keys(databaseObject.shape);
  if (first === "queue") return Object.keys(queueObject.shape);
  if (first === "retention") return ["log", "applied"];
  return Object.keys(path.includes("tables") ? tableObject.shape : sync.shape);
}

/** The keys known at a place of a definition, for suggestions. */
export function knownInDefinition(path: readonly PropertyKey[]): readonly string[] {
  const { queue, retention, syncs } = definitionSchema.shape;
  const [first] = path;
  if (first === undefined) return Object.keys(definitionSchema.shape);
  if (first === "databases") return ["name", "url", "deliver"];
  if (first === "queue") return Object.keys(queue.shape);
  if (first === "retention") return Object.keys(retention.shape);
  return Object.keys(path.includes("tables") ? tableObject.shape : syncs.element.shape);
}

/** The JSON Schema that editors use for tidemark.yaml and tidemark.json. */
export function configJsonSchema(): object {
  const schema = z.toJSONSchema(configSchema, {
    io: "input",
    // Functions live in .ts and .js only: there is no way to write one in YAML or JSON.
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === "custom") jsonSchema.not = {};
    },
  });
  return { title: "Tidemark config", ...schema };
}
