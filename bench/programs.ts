// Programs run to their end.
import { spawn } from "node:child_process";

export interface ProgramOptions {
  /** On top of this process's. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Resolves to what it printed; rejects, with what it complained of, when it fails. */
export function runProgram(
  command: string,
  args: readonly string[],
  { env = {}, cwd }: ProgramOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.setEncoding("utf8").on("data", (text: string) => out.push(text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => err.push(text));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(out.join(""));
      else {
        // Some complain on one channel, some on the other.
        const words = `${out.join("")}${err.join("")}`.slice(-2_000);
        reject(new Error(`${command} ended with ${code}:\n${words}`));
      }
    });
  });
}

/** Connection parameters for PostgreSQL's programs; the password is in no argument list. */
export function postgresEnvironment(url: string): Record<string, string> {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: pathname.slice(1),
  };
}
