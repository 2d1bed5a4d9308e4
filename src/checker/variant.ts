/**
 * Variants: the core with one decision replaced by another, most of them Linux's at some time. Each
 * must be caught by the scenarios it names; its shortest counterexample is kept as text in
 * docs/counterexamples.
 */
import type { Edit } from "./instrument/linker.ts";
import type { FailureKind } from "./report/story.ts";

export interface Variant {
  readonly name: string;
  /** What is decided otherwise, in a sentence that a reader of the mailing list would recognise. */
  readonly about: string;
  /** Where it comes from: a discussion, a commit's subject, a bug's or hazard's number. */
  readonly from: string;
  /** Each finds its text exactly once in the checked source (types taken away, four-space indents). */
  readonly edits: readonly Edit[];
  /** Scenarios that catch it, and how: "pin-truncate": "invariant". Empty for one that holds. */
  readonly caughtBy: Readonly<Record<string, FailureKind>>;
  /** Why it holds, for one that no scenario can catch: a finding, too. */
  readonly holds?: string;
  /** The scenarios that it was tried in, and holds in. */
  readonly holdsIn?: readonly string[];
}

/** States the type of a variant, and is it. */
export function variant(definition: Variant): Variant {
  return definition;
}
