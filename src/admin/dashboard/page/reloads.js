// Reloads: what the last ones changed, and what the next one would.

import { badge, byId, confirm, h, reconcile, toast } from "./dom.js";
import { ask } from "./feed.js";
import { count, time } from "./format.js";

const RESULTS = { done: "ok", partial: "warn", refused: "bad" };
const CHANGES = 50;

// The changes of a reload or a plan.
function report(of, none) {
  const parts = [];
  const changes = of.changes ?? [];
  const line = (change) => h("li", null, h("b", null, change.change), ` ${change.what} `, h("code", null, change.name),
    change.connections > 0 && `: ${count(change.connections)} live connections, ${change.fate}`);
  if (changes.length > 0) parts.push(h("ul", null, ...changes.slice(0, CHANGES).map(line)));
  else if (none) parts.push(h("p", null, none));
  if (changes.length > CHANGES) parts.push(h("p", { class: "muted" }, `and ${count(changes.length - CHANGES)} more`));
  for (const [key, text] of [["closed_by_client_auth", "connections would end for their certificates"], ["closed_by_sources", "connections would end for their addresses"]]) {
    if (of[key]) parts.push(h("p", { class: "warn" }, `${count(of[key])} ${text}.`));
  }
  if (of.restart_needed?.length) parts.push(h("p", { class: "warn" }, `Restart needed: ${of.restart_needed.join(", ")}.`));
  for (const warning of of.warnings ?? []) parts.push(h("p", { class: "warn" }, warning));
  for (const reason of of.reasons ?? []) parts.push(h("pre", { class: "reason" }, reason));
  return parts;
}

export function reloads(session) {
  const answer = byId("plan-answer");
  byId("plan").addEventListener("click", async () => {
    answer.replaceChildren(h("p", { class: "muted" }, "Reading the configuration and its files…"));
    try {
      const plan = await ask("/reload", { plan: true });
      answer.replaceChildren(h("h3", null, `Plan of ${time(new Date())}`), ...report(plan, "A reload would change nothing."));
    } catch (error) {
      answer.replaceChildren(h("h3", null, "A reload would be refused"), h("pre", { class: "reason" }, error.message));
    }
  });
  const button = byId("reload");
  button.addEventListener("click", async () => {
    if (!(await confirm("Read the configuration again, and apply it?", "Reload"))) return;
    try {
      const done = await ask("/reload", {});
      answer.replaceChildren();
      toast(`Reloaded: ${count(done.changes.length)} changes.`);
    } catch (error) {
      toast(error.message);
    }
  });

  const none = h("p", { class: "muted" }, "Nothing was reloaded since the start.");
  const list = h("ol", { class: "reloads" });
  byId("reloads-list").append(none, list);
  return (all) => {
    button.hidden = !session.mayOperate();
    none.hidden = all.length > 0;
    reconcile(list, all, (of) => `${of.time} ${of.result} ${of.generation}`, (of) => {
      const what = of.scope === "materials" ? "changed files" : "configuration and files";
      const item = h("li", null, h("div", { class: "head" }, h("time", { class: "mono" }, time(of.time)), badge(of.result, RESULTS[of.result]),
        h("span", { class: "muted" }, [of.scope && what, of.generation && `generation ${of.generation}`].filter(Boolean).join(", "))), ...report(of, of.result === "done" ? "Nothing changed." : undefined));
      item.update = () => {};
      return item;
    });
  };
}
