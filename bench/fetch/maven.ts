// Libraries of Java, with what they depend on, from Maven Central.
import { findProgram } from "../../test/servers/programs.ts";
import { runProgram } from "../programs.ts";
import { fetched } from "./folder.ts";

/** The folder with the libraries that a pom.xml names. */
export async function mavenLibraries(name: string, pom: string): Promise<string> {
  for (const program of ["mvn", "java"]) {
    if (findProgram(program) === undefined) throw new Error(`there is no ${program} here`);
  }
  return fetched(name, async (folder) => {
    const goal = ["-q", "-B", "-f", pom, "dependency:copy-dependencies"];
    await runProgram("mvn", [...goal, "-DincludeScope=runtime", `-DoutputDirectory=${folder}`]);
  });
}
