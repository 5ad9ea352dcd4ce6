// Origins: state, since when, the history of checks, and what failed.

import { byId, h, reconcile, row, setAttribute, setBadge, setText, table, toast, confirm } from "./dom.js";
import { ask } from "./feed.js";
import { ago, count, time, words } from "./format.js";

const STATES = { up: "ok", down: "bad", ejected: "bad", unresolved: "bad", drain: "warn", disabled: "warn" };
const CHECKS = 16;
const ROWS_MAX = 300;

function checks(cell, origin) {
  let strip = cell.firstElementChild;
  if (!strip) {
    strip = h("span", { class: "checks", role: "img" }, ...Array.from({ length: CHECKS }, () => h("i")));
    cell.append(strip);
  }
  // The latest one is the last; the answer has it first.
  const latest = (origin.checks ?? []).slice(0, CHECKS).reverse();
  const bars = [...strip.children];
  bars.forEach((bar, n) => {
    const check = latest[n - (CHECKS - latest.length)];
    setAttribute(bar, "class", check ? (check.result === "ok" ? "ok" : "bad") : undefined);
    setAttribute(bar, "title", check ? `${time(check.time)}: ${check.result}` : undefined);
  });
  const failed = latest.filter((check) => check.result !== "ok").length;
  setAttribute(strip, "aria-label", latest.length
    ? `${latest.length} checks, ${failed} failed; the last one: ${latest.at(-1).result}`
    : "no checks");
}

function trouble(origin) {
  const check = origin.check !== undefined && origin.check !== "ok" ? `check: ${origin.check}` : undefined;
  const last = origin.failures?.[0];
  const failure = last && `${last.reason}${last.count > 1 ? ` ×${count(last.count)}` : ""} at ${time(last.time)}${last.detail ? `: ${last.detail}` : ""}`;
  return [check, failure].filter(Boolean).join("; ");
}

export function origins(session) {
  const columns = [
    { title: "Upstream", cell: (origin) => origin.upstream },
    { title: "Origin", cell: (origin) => (origin.name === origin.address ? origin.address : `${origin.name} ${origin.address ?? ""}`), kind: "break" },
    { title: "State", render: (cell, origin) => setBadge(cell, origin.state, STATES[origin.state]) },
    { title: "Since", kind: "time", cell: (origin) => (origin.since ? `${ago(origin.since, session.now())}` : "") },
    { title: "Flaps", numeric: true, cell: (origin) => count(origin.flaps ?? 0) },
    { title: "Live", numeric: true, cell: (origin) => (origin.max_connections ? `${count(origin.connections)} of ${count(origin.max_connections)}` : count(origin.connections)) },
    { title: "Weight", numeric: true, cell: (origin) => `${origin.weight}${origin.backup ? " (backup)" : ""}` },
    { title: "Checks", render: checks, kind: "history" },
    { title: "Last trouble", cell: trouble, kind: "wide" },
    { title: "", render: actions, kind: "action" },
  ];

  function actions(cell, origin) {
    const isOut = origin.state === "drain" || origin.state === "disabled";
    const action = isOut ? "enable" : "drain";
    let button = cell.firstElementChild;
    if (!button) {
      button = h("button", { type: "button", class: "small" });
      cell.append(button);
    }
    button.hidden = !session.mayOperate() || origin.state === "unresolved";
    setText(button, words(action));
    setAttribute(button, "aria-label", `${action} ${origin.upstream} ${origin.name} ${origin.address ?? ""}`);
    button.onclick = async () => {
      const name = origin.address ?? origin.name;
      const question = `Let ${origin.upstream} ${name} have no new connections? Those that it has may finish.`;
      if (action === "drain" && !(await confirm(question, "Drain"))) return;
      try {
        await ask("/origin", { upstream: origin.upstream, origin: name, action });
        toast(`${origin.upstream} ${name}: ${action}`);
      } catch (error) {
        toast(error.message);
      }
    };
  }

  const shown = table("Origins", columns);
  byId("origins-table").append(shown);
  return (list) => {
    const rank = (origin) => (origin.state === "up" ? 1 : 0);
    const sorted = list.length > ROWS_MAX ? [...list].sort((a, b) => rank(a) - rank(b)) : list;
    reconcile(shown.body, sorted.slice(0, ROWS_MAX), (origin) => `${origin.upstream} ${origin.name} ${origin.address}`, (origin) => row(columns, origin));
    setText(shown.caption, list.length > ROWS_MAX ? `${ROWS_MAX} of ${list.length} origins, those in trouble first` : "Origins");
  };
}
