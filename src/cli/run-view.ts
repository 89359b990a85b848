import type { PipelineStatus } from "../pipeline/status.ts";

/** Shows a running pipeline. */
export interface RunView {
  update(status: PipelineStatus): void;
  /** A line that stays. */
  note(text: string): void;
  close(): void;
}
