import { redactUrl } from "../core/secrets.ts";

/** What `init` asks for. */
export interface SyncAnswers {
  readonly from: string;
  readonly to: string;
  readonly tables: readonly string[];
  readonly except?: readonly string[];
  readonly queue?: string;
}

/** The text of a tidemark.yaml with one sync, and the next things one may want as comments. */
export function renderConfig(answers: SyncAnswers): string {
  const source = nameFor(answers.from, "source");
  const target = nameFor(answers.to, "target");
  const names = source === target ? { source: "source", target: "target" } : { source, target };
  const width = Math.max(names.source.length, names.target.length) + 1;
  const list = (names: readonly string[]) =>
    names.map((name) => `      - ${quote(name)}\n`).join("");
  const { except = [] } = answers;
  return `# Every key: docs/reference/config.md
databases:
  ${`${names.source}:`.padEnd(width)} ${quote(urlFor(answers.from))}
  ${`${names.target}:`.padEnd(width)} ${quote(urlFor(answers.to))}

# The embedded queue needs no server. Over several machines: nats://host
queue: ${quote(urlFor(answers.queue ?? "sqlite:./.tidemark/queue.db"))}

syncs:
  - from: ${names.source}
    to: ${names.target}
    tables:
${list(answers.tables)}      # - table: orders
      #   as: new_name                 # name at the target
      #   columns: [id, total]         # or except: [card_number]
      #   where: status <> 'draft'     # only these rows
${except.length === 0 ? "" : `    except:                            # not these\n${list(except)}`}`;
}

export function holdsPassword({ from, to, queue }: SyncAnswers): boolean {
  return [from, to, queue ?? ""].some(
    (url) =>
      !isReference(url) &&
      !/[:/]\$\{[^}]*\}@/.test(url) &&
      redactUrl(url).includes("***") &&
      url !== "",
  );
}

/** Does the environment hold it? */
export function isReference(url: string): boolean {
  return /^(env:|\$\{)/.test(url);
}

function urlFor(url: string): string {
  const variable = /^env:(\w+)$/.exec(url)?.[1];
  return variable === undefined ? url : `\${${variable}}`;
}

/** `shop` for postgres://host/shop and sqlite:./shop.db; a plain word where the URL tells none. */
function nameFor(url: string, otherwise: string): string {
  if (isReference(url)) return otherwise;
  const last = url.split(/[?#]/)[0]?.split(/[/:]/).at(-1) ?? "";
  const name = last.replace(/\.[^.]*$/, "");
  const isPlain = /^[A-Za-z][\w-]{0,30}$/.test(name) && !/^(true|false|null)$/i.test(name);
  return isPlain ? name : otherwise;
}

/** YAML's double-quoted style is JSON's; plain words stay plain. */
function quote(text: string): string {
  return /^[A-Za-z][\w./:@+-]*$/.test(text) && !text.includes(": ") ? text : JSON.stringify(text);
}
