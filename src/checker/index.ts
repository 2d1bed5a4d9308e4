/**
 * `holdfast/check`: the checker, for scenarios of one's own and for test runners. docs/checker.md has
 * ten minutes to a first scenario.
 */
import { Checked, type CheckOptions, type CheckReport } from "./check.ts";
import type { Story } from "./report/story.ts";
import { storyAsText } from "./report/text.ts";

export type { CheckOptions, CheckReport, VariantText } from "./check.ts";
export { storyAsPage } from "./report/page.ts";
export type { Failure, FailureKind, Step, Story } from "./report/story.ts";
export { storyAsText } from "./report/text.ts";
export {
  type Exploration,
  ensure,
  ensureNoLeak,
  type Scenario,
  type Self,
  scenario,
} from "./scenario.ts";

/** A schedule in which a scenario fails. The message tells its story. */
export class CounterexampleError extends Error {
  override readonly name = "CounterexampleError";
  readonly story: Story;

  constructor(story: Story) {
    super(`${story.failure!.kind}: ${story.failure!.message}\n\n${storyAsText(story)}`);
    this.story = story;
  }
}

/**
 * Explores the scenario that `module` exports as `name`, from an instrumented copy of that module and
 * of what it imports by relative paths. Returns what was explored, with the story of a failure.
 * Throws: an error when there is no such scenario, or the module cannot be instrumented.
 */
export async function explore(
  module: URL,
  name: string,
  options: CheckOptions = {},
): Promise<CheckReport> {
  const checked = await Checked.load({ module, name }, options.variant ?? null);
  return await checked.check(options);
}

/** As `explore`, for test runners. Throws: CounterexampleError when a schedule fails. */
export async function check(
  module: URL,
  name: string,
  options: CheckOptions = {},
): Promise<CheckReport> {
  const report = await explore(module, name, options);
  if (report.story?.failure) throw new CounterexampleError(report.story);
  return report;
}
