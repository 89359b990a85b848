// Programs run to their end.
import { spawn } from "node:child_process";

/** Resolves to what it printed; rejects, with what it complained of, when it fails. */
export function runProgram(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.setEncoding("utf8").on("data", (text: string) => out.push(text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => err.push(text));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(out.join(""));
      else reject(new Error(`${command} ended with ${code}:\n${err.join("").slice(-2_000)}`));
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
