// Failures by reason: what each means, what to do, and the latest of it.

import { badge, byId, h, reconcile, setAttribute, setText } from "./dom.js";
import { count, perSecond, time } from "./format.js";

const FAULTS = { client: "", origin: "bad", proxy: "bad", policy: "warn" };
const LATEST = 5;

// Text of the docs: code in backquotes, and links that lead out of the page as their words.
function prose(text) {
  const parts = String(text ?? "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").split("`");
  return parts.map((part, n) => (n % 2 ? h("code", null, part) : part));
}

function card() {
  const code = h("code");
  const number = h("b", { class: "number" });
  const rate = h("span", { class: "muted number" });
  const fault = badge("", "");
  const last = h("span", { class: "muted" });
  const meaning = h("p");
  const remedy = h("p", { class: "remedy" });
  const latest = h("ul", { class: "latest" });
  const element = h("details", { class: "failure" },
    h("summary", null, code, fault, number, rate, last),
    h("div", { class: "about" }, meaning, remedy, latest));
  element.update = (item) => {
    setText(code, item.reason);
    setText(fault, item.fault ?? "");
    setAttribute(fault, "class", `badge ${FAULTS[item.fault] ?? ""}`.trim());
    setText(number, count(item.count));
    setText(rate, item.rate > 0 ? perSecond(item.rate) : "");
    const newest = item.latest[0];
    setText(last, newest ? `last at ${time(newest.time)}` : "");
    if (element.told !== item.remedy + item.meaning) {
      element.told = item.remedy + item.meaning;
      meaning.replaceChildren(...prose(item.meaning));
      remedy.replaceChildren(h("strong", null, "What to do: "), ...prose(item.remedy));
      remedy.hidden = !item.remedy;
    }
    reconcile(latest, item.latest.slice(0, LATEST), (failure) => failure.id + failure.time, (failure) => {
      const where = [failure.endpoint, failure.route].filter(Boolean).join("/");
      const facts = [failure.client, failure.sni && `SNI ${failure.sni}`, where, failure.origin, failure.client_cert, failure.detail];
      const line = h("li", null, h("time", { class: "mono" }, time(failure.time)), " ", facts.filter(Boolean).join(" · "),
        " ", h("code", { class: "muted" }, failure.id));
      line.update = () => {};
      return line;
    });
  };
  return element;
}

export function failures() {
  const list = byId("failures-list");
  const none = h("p", { class: "muted" }, "Nothing has failed.");
  const cards = h("div", { class: "cards" });
  list.append(none, cards);
  return (answer, stats) => {
    const rates = new Map((stats?.reasons ?? []).map((reason) => [reason.reason, reason]));
    const latest = Map.groupBy ? Map.groupBy(answer.failures, (of) => of.reason) : group(answer.failures);
    const items = answer.reasons.map((reason) => ({
      ...reason,
      count: Math.max(reason.count, rates.get(reason.reason)?.faults ?? 0),
      rate: rates.get(reason.reason)?.count_per_second,
      latest: latest.get(reason.reason) ?? [],
    }));
    items.sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0) || b.count - a.count);
    none.hidden = items.length > 0;
    reconcile(cards, items, (item) => item.reason, card);
  };
}

function group(list) {
  const groups = new Map();
  for (const item of list) {
    if (!groups.has(item.reason)) groups.set(item.reason, []);
    groups.get(item.reason).push(item);
  }
  return groups;
}
