/** `holdfast completion`: what shells need to complete command lines. */
import {
  type CommandBody,
  type CommandSpec,
  EXIT_OK,
  readArguments,
  UsageError,
} from "../usage.ts";
import { candidates } from "./candidates.ts";

const SPEC: CommandSpec = {
  name: "completion",
  about: `Prints a script by which a shell completes commands of holdfast: their names, options, images, and
paths inside volumes.`,
  usage: ["bash|zsh|fish", "words -- WORD..."],
  completes: "nothing",
  options: [],
  notes: `'words' is what the scripts call: it prints what the last WORD may become, a line each. To look into a
volume it mounts it read-only; one that is in use elsewhere has nothing.`,
  examples: [
    "source <(holdfast completion bash)                      in ~/.bashrc",
    "holdfast completion zsh > ~/.zfunc/_holdfast            a directory of $fpath",
    "holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
  ],
};

/** bash breaks words at colons: what stands before the last one is there already, and is cut off. */
const BASH = `# completion of holdfast for bash
_holdfast() {
  local line=\${COMP_LINE:0:COMP_POINT} words current before
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current=\${words[\${#words[@]}-1]}
  mapfile -t COMPREPLY < <(holdfast completion words -- "\${words[@]:1}" 2> /dev/null)
  before=\${current%"\${current##*:}"}
  if [[ -n $before && $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("\${COMPREPLY[@]#"$before"}")
  fi
  if [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == */ ]]; then
    compopt -o nospace 2> /dev/null
  fi
}
complete -F _holdfast holdfast
`;

const ZSH = `#compdef holdfast
# completion of holdfast for zsh
_holdfast() {
  local -a found whole open
  found=("\${(@f)$(holdfast completion words -- "\${(@Q)words[2,CURRENT]}" 2> /dev/null)}")
  whole=("\${(@)found:#*/}")
  open=("\${(@M)found:#*/}")
  [[ -n "\${whole[*]}" ]] && compadd -- "\${whole[@]}"
  [[ -n "\${open[*]}" ]] && compadd -S '' -- "\${open[@]}"
}
if [[ "\${funcstack[1]}" == _holdfast ]]; then _holdfast "$@"; else compdef _holdfast holdfast; fi
`;

const FISH = `# completion of holdfast for fish
function __holdfast_words
  set -l words (commandline -opc)
  holdfast completion words -- $words[2..-1] (commandline -ct) 2> /dev/null
end
complete -c holdfast -f -a '(__holdfast_words)'
`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

export const completionCommand: CommandBody = {
  spec: SPEC,
  async run(args, terminal) {
    if (args[0] === "words") {
      const words = args[1] === "--" ? args.slice(2) : args.slice(1);
      for (const word of await candidates(words, null)) terminal.print(word);
      return EXIT_OK;
    }
    const [shell, ...rest] = readArguments(args, SPEC).positionals;
    const script = shell === undefined ? undefined : SCRIPTS[shell];
    if (script === undefined || rest.length > 0) {
      throw new UsageError(`give a shell: ${Object.keys(SCRIPTS).join(", ")}`);
    }
    terminal.write(script);
    return EXIT_OK;
  },
};
