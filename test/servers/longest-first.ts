import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Of all tests on servers these files take longest. Begun last, as small files are, they would end alone. */
const LONGEST = [
  "chaos/crash",
  "pairs/drift-at-source",
  "sizes/rows",
  "conformance/source",
  "conformance/target",
];

/** Begins with the files that take longest; the rest as ever. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) =>
      LONGEST.some((name) => moduleId.endsWith(`/${name}.test.ts`));
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}
