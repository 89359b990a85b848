#!/usr/bin/env node
process.title = "tidemark"; // arguments may hold a password: out of the process list at once

// Imports nothing before the check: an older Node would fail on a missing module first.
const LEAST_NODE = [22, 13] as const;

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < LEAST_NODE[0] || (major === LEAST_NODE[0] && minor < LEAST_NODE[1])) {
  process.stderr.write(
    `Tidemark needs Node ${LEAST_NODE.join(".")} or later; this is Node ${process.versions.node}.\n` +
      "fix: install a current Node from https://nodejs.org\n",
  );
  process.exit(3);
}

// The second start compiles nothing anew, which is half of the time that a start takes.
(await import("node:module")).enableCompileCache?.();

const { runProgram } = await import("./program.ts");
const exitCode = await runProgram(process.argv.slice(2));
// What is still open (a driver's timer, a half-closed socket) must not keep an ended command alive.
process.exit(exitCode);
