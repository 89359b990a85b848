import type { Parameter, Row } from "./connection.ts";

/** A statement of one command. `name` makes it a prepared one: planned once, whatever its values. */
export interface Statement {
  readonly text: string;
  readonly values: readonly Parameter[];
  readonly name: string | undefined;
}

export interface StatementResult {
  readonly rows: Row[];
  readonly rowCount: number;
  /** `UPDATE`, `COMMIT`, and `ROLLBACK` where a COMMIT found the transaction failed. */
  readonly command: string;
}

/** What the driver gives its queries of the connection. */
interface DriverConnection {
  readonly stream: { cork(): void; uncork(): void };
  parse(statement: { readonly text: string; readonly name: string }): void;
  close(statement: { readonly type: "S"; readonly name: string }): void;
  bind(portal: { readonly statement: string; readonly values: readonly Parameter[] }): void;
  execute(portal: object): void;
  sync(): void;
}

/** The driver's own query, of which it takes only descendants while it pipelines. */
type DriverQuery = new (text: string) => object;

interface Flying extends Statement {
  resolve(result: StatementResult): void;
  reject(error: unknown): void;
}

/**
 * Which statements a session has prepared. What becomes of one that was sent behind a failure, or that
 * failed itself, is not told: it is closed, which is no error either way, and prepared again.
 */
export class Prepared {
  readonly #texts = new Map<string, string | null>();

  /** Null: there may be one of that name, and it is to be closed first. Undefined: there is none. */
  get(name: string): string | null | undefined {
    return this.#texts.get(name);
  }

  note(name: string, text: string | null): void {
    this.#texts.set(name, text);
  }
}

export interface Flight {
  readonly empty: boolean;
  /** Resolves, or rejects, when all of the flight is answered. */
  add(statement: Statement): Promise<StatementResult>;
}

/**
 * Statements that leave together and are answered together: the server plans, runs and answers them
 * without a word in between, and what it sends is one packet. Behind one that fails nothing is run, up to
 * the end of the flight. Several statements in one belong into an explicit transaction: they would share an
 * implicit one.
 *
 * They are a query of the driver that writes more than one statement before its Sync. Nothing is described:
 * all values are text, and who asks knows the columns.
 */
export function flightClass(Query: DriverQuery): new (prepared: Prepared) => Flight {
  return class extends Query implements Flight {
    readonly #prepared: Prepared;
    readonly #statements: Flying[] = [];
    readonly #results: StatementResult[] = [];
    #rows: Row[] = [];

    constructor(prepared: Prepared) {
      super("");
      this.#prepared = prepared;
    }

    get empty(): boolean {
      return this.#statements.length === 0;
    }

    add(statement: Statement): Promise<StatementResult> {
      return new Promise((resolve, reject) => {
        this.#statements.push({ ...statement, resolve, reject });
      });
    }

    // What the driver calls.

    submit(connection: DriverConnection): null {
      connection.stream.cork();
      for (const { text, values, name = "" } of this.#statements) {
        this.#prepare(connection, name, text);
        connection.bind({ statement: name, values });
        connection.execute({});
      }
      connection.sync();
      connection.stream.uncork();
      return null;
    }

    handleDataRow({ fields }: { readonly fields: Row }): void {
      this.#rows.push(fields);
    }

    handleCommandComplete({ text }: { readonly text: string }): void {
      const words = text.split(" ");
      const command = words[0] ?? "";
      this.#results.push({ rows: this.#rows, rowCount: Number(words.at(-1)) || 0, command });
      this.#rows = [];
    }

    handleEmptyQuery(): void {
      this.handleCommandComplete({ text: "" });
    }

    handleError(error: unknown): void {
      const done = this.#results.length;
      // With all of them done it was the end that failed: the commit that comes with it, or the session.
      const failed = done < this.#statements.length ? done : 0;
      this.#settle(failed);
      for (const { name, text, reject } of this.#statements.slice(failed)) {
        if (name !== undefined && this.#prepared.get(name) === text)
          this.#prepared.note(name, null);
        reject(error);
      }
    }

    handleReadyForQuery(): void {
      this.#settle(this.#results.length);
    }

    #prepare(connection: DriverConnection, name: string, text: string): void {
      const known = name === "" ? undefined : this.#prepared.get(name);
      if (known === text) return;
      if (known !== undefined) connection.close({ type: "S", name });
      connection.parse({ text, name });
      if (name !== "") this.#prepared.note(name, text);
    }

    #settle(count: number): void {
      for (let i = 0; i < count; i++) {
        this.#statements[i]?.resolve(this.#results[i] as StatementResult);
      }
    }
  };
}
