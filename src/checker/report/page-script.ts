/** The script of a story's page: steps through the table that is there, and shows the present step. */
export const PAGE_SCRIPT = `
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const story = JSON.parse(byId("story").textContent);
  const { steps } = story;
  if (steps.length === 0) return;
  const rows = [...document.querySelectorAll("tr[data-step]")];
  const slider = byId("slider");
  const root = document.documentElement;
  let present = 0;

  const element = (name, text) => {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  };

  const happeningRow = (index) => {
    let row = rows[index];
    while (!row.classList.contains("happening")) row = row.previousElementSibling;
    return row;
  };

  const mark = (index, on) => {
    const happening = steps[index].happening;
    for (let at = index; at >= 0 && steps[at].happening === happening; at--) {
      rows[at].classList.toggle("open", on);
    }
    for (let at = index; at < steps.length && steps[at].happening === happening; at++) {
      rows[at].classList.toggle("open", on);
    }
    happeningRow(index).classList.toggle("present", on);
    if (on) rows[index].setAttribute("aria-current", "step");
    else rows[index].removeAttribute("aria-current");
  };

  const showDetail = (index) => {
    const step = steps[index];
    const isRead = step.before === step.after;
    byId("where").textContent =
      "Step " + (index + 1) + " of " + steps.length + ", " + step.actor;
    byId("happening").textContent = story.happenings[step.happening];
    byId("said").replaceChildren(...step.said.map((said) => element("li", said)));
    byId("kind").textContent = step.kind;
    byId("word").textContent = step.word;
    byId("value").textContent = isRead ? step.before : step.before + " -> " + step.after;
    byId("stack").replaceChildren(
      ...step.stack.map(([name, file]) => {
        const line = element("li", "");
        line.append(element("code", name), " ", element("small", file));
        return line;
      }),
    );
    const before = index === 0 ? [] : steps[index - 1].state;
    byId("state").replaceChildren(
      ...story.watched.flatMap((name, at) => {
        const value = element("dd", step.state[at] ?? "");
        if (index > 0 && step.state[at] !== before[at]) value.className = "changed";
        return [element("dt", name), value];
      }),
    );
  };

  const goTo = (index) => {
    mark(present, false);
    present = Math.max(0, Math.min(steps.length - 1, index));
    mark(present, true);
    showDetail(present);
    slider.value = String(present);
    slider.setAttribute("aria-valuetext", byId("where").textContent);
    rows[present].scrollIntoView({ block: "nearest" });
  };

  const happeningAfter = () => {
    let at = present;
    while (at < steps.length - 1 && steps[at].happening === steps[present].happening) at++;
    return at;
  };

  const happeningBefore = () => {
    let at = Math.max(0, present - 1);
    while (at > 0 && steps[at - 1].happening === steps[at].happening) at--;
    return at;
  };

  const keys = {
    ArrowLeft: () => present - 1,
    ArrowRight: () => present + 1,
    ArrowUp: happeningBefore,
    ArrowDown: happeningAfter,
    Home: () => 0,
    End: () => steps.length - 1,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    goTo(keys[event.key]());
  });
  byId("first").addEventListener("click", () => goTo(0));
  byId("previous").addEventListener("click", () => goTo(present - 1));
  byId("next").addEventListener("click", () => goTo(present + 1));
  byId("last").addEventListener("click", () => goTo(steps.length - 1));
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  byId("all").addEventListener("change", (event) => {
    root.classList.toggle("all", event.target.checked);
    goTo(present);
  });
  document.querySelector("tbody").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row !== null) goTo(Number(row.dataset.step ?? row.dataset.first));
  });

  root.classList.add("js");
  byId("detail").hidden = false;
  goTo(0);
})();
`;
