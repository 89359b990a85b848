import { TidemarkError } from "./errors.ts";

/** Loads a driver on first use; a missing one is named, with the command that installs it. */
export async function loadDriver<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new TidemarkError("TM-DRIVER-MISSING", `The package "${name}" cannot be loaded.`, {
      fix: `npm install ${name}`,
      cause: error,
      details: { package: name },
    });
  }
}
