/** `holdfast collide`: the main job. docs/collide.md says what each of its checks proves. */
import { bindFunction } from "../../base/libc.ts";
import type { Terminal } from "../terminal.ts";
import { type CommandBody, EXIT_FOUND, EXIT_OK } from "../usage.ts";
import { COLLIDE_SPEC, parseCollideOptions } from "./options.ts";
import { isClean, jsonOf, printTable } from "./report.ts";
import { Run } from "./run.ts";

const endProcess = bindFunction("void _exit(int status)");

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = parseCollideOptions(args);
  const outcome = await new Run(options, terminal).run();
  if (options.json) terminal.print(jsonOf(outcome));
  else printTable(outcome, terminal);
  const code = isClean(outcome) ? EXIT_OK : EXIT_FOUND;
  // process.exit() would wait for the thread that is stuck, as every end in good order would.
  if (outcome.findings.some(({ kind }) => kind === "stuck")) endProcess(code);
  return code;
}

export const collide: CommandBody = { spec: COLLIDE_SPEC, run };
