/** What an error says, without the names of calls: "no such file or directory (ENOENT)". */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const line = error.message.replace(/\s*\n\s*/g, " ");
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  if (typeof code !== "string") return line;
  const text = line.startsWith(`${code}: `) ? line.slice(code.length + 2) : line;
  const call = text.lastIndexOf(`, ${String(syscall)}`);
  return `${call > 0 ? text.slice(0, call) : text} (${code})`;
}
