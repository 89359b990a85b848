// A relay and an applier as processes of their own, whose memory can be looked at one by one.
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { Queue } from "../../src/core/queue.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { waitForSync } from "../../src/pipeline/wait.ts";
import { PipelineProcess, writeConfig } from "./pipeline-process.ts";

const ROLES = ["relay", "applier"] as const;
export type Role = (typeof ROLES)[number];

export class TwoProcesses implements AsyncDisposable {
  readonly #processes: ReadonlyMap<Role, PipelineProcess>;
  readonly #definition: PipelineDefinition;
  readonly #queue: Queue;

  static async start(
    folder: string,
    definition: PipelineDefinition,
    env: { readonly [role in Role]?: Record<string, string> } = {},
  ): Promise<TwoProcesses> {
    const config = writeConfig(folder, definition);
    const processes = new Map(
      ROLES.map((role) => [
        role,
        PipelineProcess.start(config, ["--role", role], { env: env[role] ?? {} }),
      ]),
    );
    return new TwoProcesses(processes, definition, await openQueue(definition.queue, silentLogger));
  }

  private constructor(
    processes: ReadonlyMap<Role, PipelineProcess>,
    definition: PipelineDefinition,
    queue: Queue,
  ) {
    this.#processes = processes;
    this.#definition = definition;
    this.#queue = queue;
  }

  /** Throws at once where one of them ends by itself: nothing would come of waiting. */
  async waitFor(timeoutMs: number): Promise<void> {
    const ends = [...this.#processes].map(async ([role, process]) => {
      await process.ended();
      throw new Error(`The ${role} has ended: ${process.output.slice(-1_000)}`);
    });
    await Promise.race([waitForSync(this.#definition, this.#queue, { timeoutMs }), ...ends]);
  }

  /** The most memory that either has had since it began, in megabytes; 0 where the system does not tell. */
  peakMegabytes(role: Role): number {
    return this.#processes.get(role)?.peakMegabytes ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes.values()) await process.kill();
    await this.#queue.close();
  }
}
