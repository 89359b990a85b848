// Which of several failures ends a process, and is told as its end (G8).
import { expect, test } from "vitest";
import { silentLogger } from "../core/log.ts";
import { type Worker, Workers } from "./workers.ts";

class Failing implements Worker {
  readonly #end = Promise.withResolvers<void>();

  async run(onReady: () => void): Promise<void> {
    onReady();
    await this.#end.promise;
  }

  fail(message: string): void {
    this.#end.reject(new Error(message));
  }

  stop(): void {
    this.#end.resolve();
  }
}

test("the failure that leaves nothing to go on is the one that is told, not one of long before", async () => {
  const workers = new Workers(silentLogger);
  const [first, second, relay] = [new Failing(), new Failing(), new Failing()];
  const common = { source: "a" };
  workers.add({ ...common, name: "relay a", role: "relay", worker: relay });
  workers.add({ ...common, name: "a->b", role: "applier", worker: first });
  workers.add({ ...common, name: "a->c", role: "applier", worker: second });
  await workers.ready;
  first.fail("minutes ago");
  second.fail("now");
  await expect(workers.finished).rejects.toThrow("now");
});

test("what fails while all is being stopped does not hide what had stopped a sync before", async () => {
  const workers = new Workers(silentLogger);
  const [first, second] = [new Failing(), new Failing()];
  workers.add({ name: "a->b", role: "applier", source: "a", worker: first });
  workers.add({ name: "a->c", role: "applier", source: "a", worker: second });
  await workers.ready;
  first.fail("before");
  await Promise.resolve();
  second.stop = () => second.fail("cut off");
  await workers.stop();
  await expect(workers.finished).rejects.toThrow("before");
});
