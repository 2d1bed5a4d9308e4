/**
 * Operations of the node:fs face, each written once: a generator that yields its steps. Run blocking, on the event
 * loop as a promise, or as one with a callback.
 */
import { type ErrorContext, HoldfastError } from "../../base/errors.ts";
import { wrongType } from "../arguments.ts";

/** What the volume is asked for: in one of two ways. */
export interface Step<T> {
  sync(): T;
  async(): Promise<T>;
}

/** Gives each step's answer, or its error, back to the generator. */
// biome-ignore lint/suspicious/noExplicitAny: a generator takes what its last step answered, `take` types it
export type Script<T> = Generator<Step<unknown>, T, any>;

/** One step, with the type of its answer. */
export function* take<T>(step: Step<T>): Script<T> {
  return (yield step) as T;
}

/** The script, its errors told as those of the call that it stands for. */
export function* as<T>(context: ErrorContext, script: Script<T>): Script<T> {
  try {
    return yield* script;
  } catch (error) {
    if (error instanceof HoldfastError) {
      error.syscall = context.syscall;
      error.path = context.path;
      error.dest = context.dest;
    }
    throw error;
  }
}

/** A step on an open file: errors name no path, as the system knows none. */
export function onHandle<T>(syscall: string, step: Step<T>): Script<T> {
  return as({ syscall }, take(step));
}

export function runSync<T>(script: Script<T>): T {
  let turn = script.next();
  while (!turn.done) turn = advance(script, turn.value);
  return turn.value;
}

function advance<T>(script: Script<T>, step: Step<unknown>): IteratorResult<Step<unknown>, T> {
  let value: unknown;
  try {
    value = step.sync();
  } catch (error) {
    return script.throw(asNodeNames(error));
  }
  return script.next(value);
}

/** What Node calls by another name: on Linux the two have one number. */
function asNodeNames(error: unknown): unknown {
  if (!(error instanceof HoldfastError && error.code === "EOPNOTSUPP")) return error;
  const message = error.message.replace(error.code, NOT_SUPPORTED);
  return Object.assign(error, { code: NOT_SUPPORTED, message });
}

const NOT_SUPPORTED = "ENOTSUP";

/** Its part before the first step, arguments' checks, has run. */
async function finish<T>(script: Script<T>, first: IteratorResult<Step<unknown>, T>): Promise<T> {
  let turn = first;
  while (!turn.done) {
    let value: unknown;
    try {
      value = await turn.value.async();
    } catch (error) {
      turn = script.throw(asNodeNames(error));
      continue;
    }
    turn = script.next(value);
  }
  return turn.value;
}

export async function runAsync<T>(script: Script<T>): Promise<T> {
  return finish(script, script.next());
}

// biome-ignore lint/suspicious/noExplicitAny: as Node's own
export type Callback = (error: unknown, ...results: any[]) => void;

export function checkCallback(value: unknown): Callback {
  if (typeof value !== "function") throw wrongType("cb", "of type function", value);
  return value as Callback;
}

/** Whether it tells of wrong arguments: these are thrown at once, whatever the form. */
function isOfArguments(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && code.startsWith("ERR_INVALID_");
}

/** Answers in a turn of its own: what a callback throws is nobody's rejection. `spread`: the results it gets. */
export function runWithCallback<T>(
  script: Script<T>,
  callback: Callback,
  spread: (result: T) => readonly unknown[] = (result) => (result === undefined ? [] : [result]),
): void {
  let first: IteratorResult<Step<unknown>, T>;
  try {
    first = script.next();
  } catch (error) {
    if (isOfArguments(error)) throw error;
    process.nextTick(callback, error);
    return;
  }
  finish(script, first).then(
    (result) => process.nextTick(callback, null, ...spread(result)),
    (error) => process.nextTick(callback, error),
  );
}
