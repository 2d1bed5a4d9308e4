/** `holdfast collide`: the main job. docs/collide.md says what each of its checks proves. */
import { type CommandBody, EXIT_FOUND, EXIT_OK } from "../commands.ts";
import type { Terminal } from "../terminal.ts";
import { COLLIDE_HELP, parseCollideOptions } from "./options.ts";
import { isClean, jsonOf, printTable } from "./report.ts";
import { Run } from "./run.ts";

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = parseCollideOptions(args);
  const outcome = await new Run(options, terminal).run();
  if (options.json) terminal.print(jsonOf(outcome));
  else printTable(outcome, terminal);
  const code = isClean(outcome) ? EXIT_OK : EXIT_FOUND;
  // A thread that no longer moves cannot be waited for, not even to end the process in good order.
  if (outcome.findings.some(({ kind }) => kind === "stuck")) process.exit(code);
  return code;
}

export const collide: CommandBody = { help: COLLIDE_HELP, run };
