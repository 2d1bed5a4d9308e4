/** Patterns of names, as shells have them: `*`, `?`, `[a-z]`, and a backslash before what is meant itself. */

/** The whole of a text must match. A slash is as any other character. */
export function globPattern(glob: string, options: { readonly ignoreCase?: boolean } = {}): RegExp {
  let source = "";
  for (let at = 0; at < glob.length; at++) {
    const letter = glob[at]!;
    if (letter === "*") source += ".*";
    else if (letter === "?") source += ".";
    else if (letter === "[") {
      const set = /^\[([!^]?)(\]?[^\]]*)\]/.exec(glob.slice(at));
      if (set === null) source += "\\[";
      else {
        source += `[${set[1] === "" ? "" : "^"}${set[2]!.replace(/[\\\]^]/g, "\\$&")}]`;
        at += set[0].length - 1;
      }
    } else if (letter === "\\" && at + 1 < glob.length) source += quoted(glob[++at]!);
    else source += quoted(letter);
  }
  return new RegExp(`^${source}$`, options.ignoreCase === true ? "sui" : "su");
}

function quoted(letter: string): string {
  return letter.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
