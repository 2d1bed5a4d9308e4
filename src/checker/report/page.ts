/**
 * A story as one HTML page that can be stepped through, access by access. The page is a plain table
 * that can be read without JavaScript; the script (page-script.ts) adds stepping to it.
 *
 * Rules. (1) The page loads nothing from anywhere, and says so to the browser.
 *        (2) Text of the story gets into it through `escapeHtml`, `embeddedJson`, or textContent.
 */
import { type Happening, happeningsOf } from "./happenings.ts";
import { PAGE_SCRIPT } from "./page-script.ts";
import { PAGE_STYLE } from "./page-style.ts";
import type { Story } from "./story.ts";
import { stateChanges } from "./text.ts";
import { actorName, endInWords, replayCommand, stepInWords, valueInWords } from "./values.ts";

/** What the script reads: the story, in words. */
interface PageData {
  readonly watched: readonly string[];
  readonly happenings: readonly string[];
  readonly steps: readonly {
    readonly actor: string;
    readonly kind: string;
    readonly word: string;
    readonly before: string;
    readonly after: string;
    /** Innermost first, for reading downwards: function, then file. */
    readonly stack: readonly (readonly [string, string])[];
    readonly said: readonly string[];
    readonly state: readonly string[];
    /** Index of its happening. */
    readonly happening: number;
  }[];
}

export function storyAsPage(story: Story): string {
  const happenings = happeningsOf(story);
  const title = `${story.scenario}: ${endInWords(story)}`;
  const { watched, steps, happenings: texts } = pageData(story, happenings);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
${header(story)}
<main>
<section class="schedule" aria-label="Schedule" tabindex="0">
${table(story, happenings)}
</section>
${detail(steps.length)}
</main>
<script type="application/json" id="story">${embeddedJson({ watched, steps, happenings: texts })}</script>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

function pageData(story: Story, happenings: readonly Happening[]): PageData {
  const happeningOf = story.steps.map(() => -1);
  for (const [index, { first, last }] of happenings.entries()) {
    happeningOf.fill(index, first, last + 1);
  }
  return {
    watched: story.watched,
    happenings: happenings.map(({ text }) => text),
    steps: story.steps.map((step, index) => ({
      actor: actorName(story, step.actor),
      kind: step.kind,
      word: step.word,
      before: valueInWords(step.word, step.before),
      after: valueInWords(step.word, step.after),
      stack: step.stack.map((site) => [site.function, site.file] as const).reverse(),
      said: step.said,
      state: step.state,
      happening: happeningOf[index]!,
    })),
  };
}

function header(story: Story): string {
  const variant =
    story.variant === null
      ? ""
      : `<p><b>Variant ${escapeHtml(story.variant)}.</b> ${escapeHtml(story.variantAbout ?? "")}</p>\n`;
  const kind = story.failure === null ? "passed" : "failed";
  return `<header>
<h1>${escapeHtml(story.scenario)}</h1>
<p>${escapeHtml(story.about)}</p>
${variant}<p class="end ${kind}">${escapeHtml(endInWords(story))}</p>
<p>Replay: <code>${escapeHtml(replayCommand(story))}</code></p>
</header>`;
}

function table(story: Story, happenings: readonly Happening[]): string {
  const heads = story.actors.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("");
  const rows = happenings.flatMap((happening) => rowsOf(story, happening));
  return `<table>
<caption>One column for each actor. Time goes down.</caption>
<thead><tr><th scope="col">Step</th>${heads}<th scope="col">State</th></tr></thead>
<tbody>
${rows.join("\n")}
</tbody>
</table>`;
}

/** The happening's row and, below it, one for each of its steps. */
function rowsOf(story: Story, { kind, actor, first, last, text }: Happening): string[] {
  const number = last < first ? "" : first === last ? `${first + 1}` : `${first + 1}–${last + 1}`;
  const state = last < first ? [] : stateChanges(story, first - 1, last);
  const isEnd = (index: number): boolean =>
    index === story.steps.length - 1 && story.failure !== null && last >= first;
  const classes = `happening ${kind}${isEnd(last) ? " last" : ""}`;
  const attributes = `class="${classes}" data-first="${first}"`;
  const rows = [row(story, attributes, number, actor, text, state)];
  for (let index = first; index <= last; index++) {
    const step = story.steps[index]!;
    const site = step.stack[step.stack.length - 1]?.function;
    const access = `${site === undefined ? "" : `${site} · `}${stepInWords(story, step)}`;
    const end = isEnd(index) ? " last" : "";
    const attributes = `class="step${end}" data-step="${index}"`;
    rows.push(row(story, attributes, `${index + 1}`, actor, access, []));
  }
  return rows;
}

function row(
  story: Story,
  attributes: string,
  number: string,
  actor: number,
  text: string,
  state: readonly string[],
): string {
  const cells = story.actors.map((_, at) => `<td>${at === actor ? escapeHtml(text) : ""}</td>`);
  const states = state.map(escapeHtml).join("<br>");
  return `<tr ${attributes}><th scope="row">${number}</th>${cells.join("")}<td>${states}</td></tr>`;
}

/** The present step. Shown by the script only. */
function detail(steps: number): string {
  const last = Math.max(0, steps - 1);
  return `<section class="detail" id="detail" aria-label="Present step" hidden>
<div class="controls" role="group" aria-label="Stepping">
<button type="button" id="first" title="First step (Home)">First</button>
<button type="button" id="previous" title="One step back (Left)">Back</button>
<button type="button" id="next" title="One step on (Right)">Next</button>
<button type="button" id="last" title="Last step (End)">Last</button>
<input type="range" id="slider" min="0" max="${last}" value="0" aria-label="Step">
</div>
<p><label><input type="checkbox" id="all"> Show every access in the schedule</label></p>
<p class="keys">Left and right: one access. Up and down: one happening. Home and end.</p>
<h2 id="where" aria-live="polite"></h2>
<p id="happening"></p>
<ul id="said"></ul>
<dl><dt id="kind"></dt><dd id="word"></dd><dt>Value</dt><dd id="value"></dd></dl>
<h3>Functions, innermost first</h3>
<ol id="stack"></ol>
<h3>State after the step</h3>
<dl id="state"></dl>
</section>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/** JSON for a script element: without "<", nothing in it can end the element or begin a comment. */
function embeddedJson(data: PageData): string {
  return JSON.stringify(data).replaceAll("<", "\\u003c");
}
