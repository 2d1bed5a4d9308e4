/** The style of a story's page. What depends on the script hangs on the class "js" of the root. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --back: #fff; --text: #1b1f24; --soft: #59636e; --line: #d5dae0;
  --present: #fff3c4; --opened: #f4f6f8; --bad: #b3261e; --good: #1a6b34; --rest: #8a5a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14171b; --text: #e4e7eb; --soft: #9aa4af; --line: #343b44;
    --present: #4a3f10; --opened: #1d2228; --bad: #ff8a80; --good: #7ddc9a; --rest: #f0c060;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
header { padding: 1rem 1.25rem .5rem; border-bottom: 1px solid var(--line); }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: .75rem 0 .25rem; }
h3 { font-size: .85rem; margin: 1rem 0 .25rem; color: var(--soft); font-weight: 600; }
p { margin: .25rem 0; max-width: 60rem; }
code, tr.step td, dd { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.end { font-weight: 600; }
.failed { color: var(--bad); }
.passed { color: var(--good); }
.schedule { overflow: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding: .5rem 1.25rem; color: var(--soft); }
thead th { position: sticky; top: 0; background: var(--back); box-shadow: 0 1px var(--line); }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem; }
th:first-child { padding-left: 1.25rem; }
th[scope="row"] { color: var(--soft); font-weight: 400; white-space: nowrap; }
tbody td { border-left: 1px solid var(--line); }
tr.happening { border-top: 1px solid var(--line); }
tr.said td { font-weight: 600; }
tr.sleep td, tr.resume td { color: var(--rest); }
tr.kill td, tr.abort td, tr.last td { color: var(--bad); }
tr.step td, tr.step th, td:last-child, .keys, small { color: var(--soft); }
tr.last td { color: var(--bad); }
.js tbody tr { cursor: pointer; scroll-margin: 5rem 0 3rem; }
.js tr.step { display: none; }
.js tr.step.open, .js.all tr.step { display: table-row; }
.js tr.open, .js tr.present { background: var(--opened); }
.js tr[aria-current] { background: var(--present); }
.js tr[aria-current] td, .js tr[aria-current] th { color: var(--text); }
.detail { padding: .75rem 1.25rem; border-top: 1px solid var(--line); }
.controls { display: flex; gap: .35rem; align-items: center; }
.controls input { flex: 1; min-width: 4rem; }
button { font: inherit; color: inherit; background: var(--opened); border: 1px solid var(--line); border-radius: 4px; padding: .2rem .6rem; }
:focus-visible { outline: 2px solid #3b82f6; outline-offset: 1px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .75rem; margin: .25rem 0; }
dt { color: var(--soft); }
dd { margin: 0; }
.changed { font-weight: 700; color: var(--rest); }
ol, ul { margin: .25rem 0; padding-left: 1.5rem; }
ul:empty { display: none; }
@media (min-width: 60rem) {
  .js body { height: 100vh; display: flex; flex-direction: column; }
  .js main { flex: 1; min-height: 0; display: grid; grid-template-columns: 1fr 24rem; }
  .js .detail { overflow: auto; border-top: 0; border-left: 1px solid var(--line); }
}
@media (max-width: 59.99rem) {
  .js .detail { position: sticky; bottom: 0; max-height: 45vh; overflow: auto; background: var(--back); }
  .js .keys { display: none; }
}
@media print {
  .js body { height: auto; }
  .js .detail { display: none; }
}
`;
