import type { Reporter, TestModule } from "vitest/node";

/**
 * Says at the end which tests had not ended, or had not told so, when their process died. Vitest itself says only that
 * one has.
 */
export class UnfinishedTests implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const module of modules) {
      const unfinished = [...module.children.allTests("pending")];
      if (unfinished.length === 0) continue;
      const [first] = unfinished;
      process.stderr.write(
        `${module.relativeModuleId}: ${unfinished.length} tests without a result, from: ${first!.fullName}\n`,
      );
    }
  }
}
