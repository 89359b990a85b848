import { isGlob } from "../config/patterns.ts";
import type { Catalog } from "../core/database.ts";
import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import type { SyncPrint } from "../core/documents.ts";
import { isTidemarkError, type TidemarkError, toTidemarkError } from "../core/errors.ts";
import { rulesPrint } from "../core/rules.ts";
import type { CaptureTable } from "../core/source.ts";
import type { Target } from "../core/target.ts";
import { Ahead } from "./ahead.ts";
import { type Databases, using } from "./connect.ts";
import { fingerprintOfAll } from "./fingerprint.ts";
import { type PreparedSync, prepareTarget } from "./prepare-target.ts";
import { captureTables, checkOverlap, type ResolvedSync, resolveSync } from "./resolve.ts";
import { levelsOf } from "./topology.ts";

/** A definition resolved against its databases: all that is to be captured, and all that is to be created. */
export interface Prepared {
  readonly sources: readonly PreparedSource[];
  readonly syncs: readonly PreparedSync[];
  /** Syncs that read tables which another sync has yet to create. */
  readonly deferred: readonly SyncDefinition[];
  /** Those whose target was passed by. Their sources are captured all the same. */
  readonly passed: readonly PassedSync[];
  /** Sources that were passed by, each with all its syncs. */
  readonly away: readonly AwaySource[];
  /** Targets that were passed by because nobody answered. */
  readonly awayTargets: ReadonlyMap<string, TidemarkError>;
  readonly standing: Standing;
}

/** Syncs as they are resolved, by source: no two may write one table, whichever is prepared first. */
export type Standing = Map<string, readonly ResolvedSync[]>;

export interface AwaySource {
  readonly name: string;
  /** All that read it: only together do they say what is to be captured. */
  readonly syncs: readonly SyncDefinition[];
  readonly error: TidemarkError;
}

/** Each by its name, with what it was passed by for. */
export interface AwayDatabases {
  readonly sources: ReadonlyMap<string, TidemarkError>;
  readonly targets: ReadonlyMap<string, TidemarkError>;
}

export interface PassedSync {
  readonly definition: SyncDefinition;
  readonly error: TidemarkError;
  /** Looks at the target again: throws as before, or gives what was to be prepared. */
  readonly prepare: (options: Pick<PrepareOptions, "create">) => Promise<PreparedSync>;
}

export interface PreparedSource {
  readonly name: string;
  readonly capture: readonly CaptureTable[];
  /** Those that read it, by name. */
  readonly syncs: ReadonlyMap<string, SyncPrint>;
}

export interface PrepareOptions {
  /** Creates what targets lack as it goes, so that the next link of a chain finds its tables. */
  readonly create: boolean;
  /** Only syncs to these targets are planned and created. */
  readonly targets?: ReadonlySet<string>;
  /** Default: asks the source itself. */
  readonly withCatalog?: WithCatalog;
  /**
   * Asked of a sync that has an end which cannot be used as it is: may it be passed by? Else, and without this, the error
   * is thrown. A source is passed by where all that read it may be.
   */
  readonly passBy?: PassBy | undefined;
  /** Told of a sync whose columns are refused, before {@link passBy} is asked: what was altered is to be noted. */
  readonly onUnfit?: ((sync: PreparedSync) => Promise<void>) | undefined;
  /** Of who goes on with what is open then. */
  readonly ahead?: Ahead;
  /** Told of sources once all that read them are resolved, before their targets are asked. */
  readonly onResolved?: ((sources: readonly PreparedSource[]) => void) | undefined;
  /** What was prepared before: of a source that comes after the others, whose syncs alone the definition then holds. */
  readonly standing?: Standing;
  /** What was passed by just before: a server that does not answer is not waited for twice. */
  readonly away?: AwayDatabases;
  /** Ends it between two syncs, by throwing. */
  readonly signal?: AbortSignal;
}

/** Gives what is made of what a source's tables are. */
export type WithCatalog = <R>(source: string, use: (catalog: Catalog) => Promise<R>) => Promise<R>;

export type PassBy = (
  sync: SyncDefinition,
  error: TidemarkError,
  end: "source" | "target",
) => Promise<boolean>;

/**
 * Resolves and checks everything, source by source in the order of a chain; also that two names which
 * turn out to be one database are not written, or followed, as if they were two.
 * Throws the first refusal, before anything of that sync is changed.
 */
export async function prepare(
  definition: PipelineDefinition,
  databases: Databases,
  options: PrepareOptions,
): Promise<Prepared> {
  await using own = new Ahead(databases);
  const { ahead = own } = options;
  const withCatalog: WithCatalog = (source, use) => ahead.catalogs.use(source, use);
  try {
    return await prepareAll(definition, databases, { withCatalog, ...options, ahead });
  } finally {
    ahead.targets.endBegun();
  }
}

type Asked = PrepareOptions & Required<Pick<PrepareOptions, "ahead" | "withCatalog">>;

async function prepareAll(
  definition: PipelineDefinition,
  databases: Databases,
  options: Asked,
): Promise<Prepared> {
  const { ahead } = options;
  const written = new Set(definition.syncs.map(({ to }) => to));
  const resolved: ResolvedSync[] = [];
  const syncs: PreparedSync[] = [];
  const deferred: SyncDefinition[] = [];
  const passed: PassedSync[] = [];
  /** Targets that were passed by. */
  const away = new Set<string>();
  const awayTargets = new Map<string, TidemarkError>(options.away?.targets);
  const awaySources = new Map<string, AwaySource>();
  const { standing = new Map() } = options;
  const all = () => [...standing.values()].flat();
  const { identities } = databases;
  if (options.create) await identifyTargets(definition, databases, { ...options, awayTargets });
  const isPlanned = ({ to }: SyncDefinition) => options.targets?.has(to) !== false;
  for (const level of levelsOf(definition.syncs)) {
    const [first] = level.filter(isPlanned);
    if (first !== undefined && !awayTargets.has(first.to)) ahead.targets.begin(first.to);
    const found: ResolvedSync[] = [];
    for (const sync of level) {
      options.signal?.throwIfAborted();
      if (awaySources.has(sync.from)) continue;
      const readers = level.filter(({ from }) => from === sync.from);
      const known = options.away?.sources.get(sync.from);
      if (known !== undefined) {
        awaySources.set(sync.from, { name: sync.from, syncs: readers, error: known });
        continue;
      }
      try {
        found.push(await resolveOne(sync, databases, options));
      } catch (error) {
        // The table, or an SQLite file as a whole, may be made by the link before. A server that
        // really is away has been found out as that link's target.
        const mayCome = !options.create && written.has(sync.from) && !away.has(sync.from);
        // Nor has anybody looked at it where the link before waits for a source of its own.
        const isUnseen = definition.syncs.some(
          ({ from, to }) => to === sync.from && awaySources.has(from),
        );
        const isAway =
          isTidemarkError(error, "TM-TABLE-MISSING") ||
          (isTidemarkError(error, "TM-CONNECT-FAILED") && !isUnseen) ||
          (isLackOfGlob(error) && syncs.some((before) => makes(before, sync.from)));
        if (!mayCome || !isAway) {
          const reason = await passBySource(readers, error, options);
          awaySources.set(sync.from, { name: sync.from, syncs: readers, error: reason });
          continue;
        }
        deferred.push(sync);
        await identify(sync.to, databases, options).catch((failure) =>
          passBy(sync, failure, options, "target"),
        );
      }
    }
    // One of a source's syncs may have been resolved before it went.
    const present = found.filter(({ definition: { from } }) => !awaySources.has(from));
    resolved.push(...present);
    for (const [from, own] of Map.groupBy(present, ({ definition }) => definition.from))
      standing.set(from, own);
    checkOverlap(all(), (name) => identities.nameOf(name));
    options.onResolved?.(sourcesOf(present));
    const names = new Set(level.map(({ name }) => name));
    const planned = resolved.filter(
      ({ definition: sync }) => names.has(sync.name) && isPlanned(sync),
    );
    for (const [index, sync] of planned.entries()) {
      options.signal?.throwIfAborted();
      const { definition } = sync;
      const prepareAt = ({ create }: Pick<PrepareOptions, "create">) => {
        return (target: Target) => prepareTarget(sync, { databases, all: all(), target, create });
      };
      try {
        const next = planned[index + 1]?.definition;
        const opening = openTarget(definition.to, { next: next?.to, ahead, awayTargets });
        syncs.push(await ahead.targets.use(definition.to, prepareAt(options), opening));
      } catch (failure) {
        const again: PassedSync["prepare"] = (asked) =>
          using(databases.openTarget(definition.to, null), prepareAt(asked));
        if (isTidemarkError(failure, "TM-COLUMN-UNFIT")) await noteUnfit(again, options);
        const error = await passBy(definition, failure, options, "target");
        away.add(definition.to);
        if (isUnreached(error)) awayTargets.set(definition.to, error);
        passed.push({ definition, error, prepare: again });
      }
    }
  }
  const sources = sourcesOf(resolved);
  return {
    sources,
    syncs,
    deferred,
    passed,
    away: [...awaySources.values()],
    awayTargets,
    standing,
  };
}

interface Opening {
  readonly next: string | undefined;
  readonly ahead: Ahead;
  readonly awayTargets: ReadonlyMap<string, TidemarkError>;
}

/** Throws at once of one that nobody has answered for; else the next one is opened meanwhile. */
function openTarget(name: string, { next, ahead, awayTargets }: Opening): Promise<Target> {
  const known = awayTargets.get(name);
  if (known !== undefined) throw known;
  const opening = ahead.targets.take(name);
  const comesBack = next === name && ahead.targets.keeps(name);
  if (next !== undefined && !comesBack && !awayTargets.has(next)) ahead.targets.begin(next);
  return opening;
}

/** The refusal is what is told, whatever becomes of this. */
async function noteUnfit(again: PassedSync["prepare"], { onUnfit }: PrepareOptions): Promise<void> {
  if (onUnfit === undefined) return;
  await again({ create: false })
    .then(onUnfit)
    .catch(() => {});
}

/** May have taken all the time that a connection has: nobody has answered. */
function isUnreached(error: unknown): error is TidemarkError {
  return isTidemarkError(error, "TM-CONNECT-FAILED");
}

/** Without one of them it would not be known what is to be captured for it. */
async function passBySource(
  readers: readonly SyncDefinition[],
  error: unknown,
  options: PrepareOptions,
): Promise<TidemarkError> {
  for (const sync of readers) await passBy(sync, error, options, "source");
  return toTidemarkError(error);
}

async function passBy(
  sync: SyncDefinition,
  error: unknown,
  options: PrepareOptions,
  end: "source" | "target",
): Promise<TidemarkError> {
  if (isTidemarkError(error) && (await options.passBy?.(sync, error, end))) return error;
  throw error;
}

/** A column that none of a glob's tables has may be in one that is still to be made. */
function isLackOfGlob(error: unknown): boolean {
  if (!isTidemarkError(error, "TM-COLUMN-MISSING")) return false;
  return isGlob(String(error.details.table));
}

function makes({ resolved, plan }: PreparedSync, database: string): boolean {
  return resolved.definition.to === database && plan.statements.length > 0;
}

function resolveOne(
  sync: SyncDefinition,
  databases: Databases,
  options: Asked,
): Promise<ResolvedSync> {
  return options.withCatalog(sync.from, async (catalog) => {
    await databases.identities.ask(sync.from, catalog);
    return resolveSync(sync, catalog, databases.endsOf(sync));
  });
}

/** A target that is a name for another one must be known before anything is made in either. */
async function identifyTargets(
  { syncs }: PipelineDefinition,
  databases: Databases,
  options: PrepareOptions & { readonly awayTargets: Map<string, TidemarkError> },
): Promise<void> {
  const names = new Set(syncs.map(({ to }) => to));
  // One alone is asked when it is planned.
  if (names.size < 2) return;
  for (const name of names) {
    if (options.awayTargets.has(name)) continue;
    try {
      await identify(name, databases, options);
    } catch (error) {
      for (const sync of syncs) if (sync.to === name) await passBy(sync, error, options, "target");
      if (isUnreached(error)) options.awayTargets.set(name, error);
    }
  }
}

async function identify(
  target: string,
  databases: Databases,
  { targets }: PrepareOptions,
): Promise<void> {
  if (databases.identities.has(target) || targets?.has(target) === false) return;
  await using(databases.openTarget(target, null), (opened) =>
    databases.identities.ask(target, opened),
  );
}

function sourcesOf(syncs: readonly ResolvedSync[]): PreparedSource[] {
  const names = [...new Set(syncs.map(({ definition }) => definition.from))];
  return names.map((name) => {
    const readers = syncs.filter(({ definition }) => definition.from === name);
    const capture = captureTables(readers);
    const prints = readers.map((sync) => {
      const print = { fingerprint: fingerprintOfAll(sync), rules: rulesPrint(sync.definition) };
      return [sync.definition.name, print] as const;
    });
    return { name, capture, syncs: new Map(prints) };
  });
}
