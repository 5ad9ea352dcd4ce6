// The table of connections: filter, sort, end.

import { byId, confirm, h, reconcile, row, setAttribute, setText, table, toast } from "./dom.js";
import { ask } from "./feed.js";
import { bytes, bytesPerSecond, count, duration } from "./format.js";

const LIMIT = 100;
const INTERVAL = 2000;

const FIELDS = new Set(["id", "endpoint", "route", "upstream", "origin", "source", "sni", "certificate", "serial", "stage"]);
const ALIASES = { cert: "certificate", client: "source", ip: "source", older: "older_than", idle: "idle_for" };
const UNITS = { s: 1, m: 60, min: 60, h: 3600, d: 86400 };

// What a line of words asks for; an Error says which word is none.
export function conditions(text) {
  const found = {};
  for (const word of text.match(/[^\s:"]+:"[^"]*"|\S+/g) ?? []) {
    const colon = word.indexOf(":");
    const written = colon > 0 ? word.slice(0, colon) : "";
    const name = ALIASES[written] ?? written;
    const value = word.slice(colon + 1).replace(/^"(.*)"$/, "$1");
    if (name === "older_than" || name === "idle_for") {
      const parts = /^(\d+(?:\.\d+)?)(s|m|min|h|d)?$/.exec(value);
      if (!parts) throw new Error(`${written}: takes a time such as 30s, 5m or 2h`);
      found[name] = Number(parts[1]) * UNITS[parts[2] ?? "s"];
    } else if (FIELDS.has(name)) {
      found[name] = value;
    } else if (/^[0-9a-f]{16}$/.test(word)) {
      found.id = word;
    } else if (/^[\d.]+(\/\d+)?$/.test(word) || /^[0-9a-f]*:[0-9a-f:.]*(\/\d+)?$/i.test(word)) {
      found.source = word;
    } else if (written) {
      throw new Error(`there is no condition ${written}:`);
    } else {
      found.sni = word;
    }
  }
  return found;
}

export function connections(session) {
  const state = { filter: {}, sort: "rate", reverse: false, matched: 0 };
  const columns = [
    { title: "ID", by: "id", cell: (of) => of.id, kind: "mono" },
    { title: "Client", by: "source", cell: (of) => of.client, kind: "mono" },
    { title: "SNI", by: "sni", cell: (of) => of.sni ?? "–", kind: "break" },
    { title: "Route", by: "route", cell: (of) => `${of.endpoint}/${of.route ?? "–"}` },
    { title: "Origin", by: "origin", cell: (of) => of.origin_address ?? of.origin ?? "–", kind: "break" },
    { title: "Stage", by: "stage", cell: (of) => (of.leaving ? `${of.stage}, ends (${of.leaving})` : of.stage) },
    { title: "Certificate", by: "certificate", cell: (of) => of.client_cert ?? "", kind: "break" },
    { title: "Age", by: "age", numeric: true, cell: (of) => duration(of.seconds) },
    { title: "Idle", by: "idle", numeric: true, cell: (of) => duration(of.idle_seconds) },
    { title: "To origin", by: "up", numeric: true, cell: (of) => bytes(of.bytes_up) },
    { title: "To client", by: "down", numeric: true, cell: (of) => bytes(of.bytes_down) },
    { title: "Rate", by: "rate", numeric: true, cell: (of) => (of.rate_up === undefined ? "" : bytesPerSecond(of.rate_up + of.rate_down)) },
    { title: "", render: end, kind: "action" },
  ];

  function end(cell, of) {
    let button = cell.firstElementChild;
    if (!button) {
      button = h("button", { type: "button", class: "small danger" }, "End");
      cell.append(button);
    }
    button.hidden = !session.mayOperate();
    setAttribute(button, "aria-label", `End connection ${of.id}`);
    button.onclick = async () => {
      if (!(await confirm(`End connection ${of.id} of ${of.client}? What was read is sent, then it is reset.`, "End"))) return;
      await kill({ id: of.id });
    };
  }

  async function kill(filter) {
    try {
      const answer = await ask("/kill", filter);
      const ended = answer.count ?? 1;
      toast(ended === 1 ? "One connection was ended." : `${count(ended)} connections were ended.`);
    } catch (error) {
      toast(error.message);
    }
    refresh();
  }

  for (const column of columns) {
    if (!column.by) continue;
    column.sort = () => {
      shown.body.reconciled?.clear();
      shown.body.replaceChildren();
      state.reverse = state.sort === column.by ? !state.reverse : false;
      state.sort = column.by;
      markOrder();
      refresh();
    };
  }
  const shown = table("Connections", columns);
  byId("connections-table").append(shown);

  function markOrder() {
    columns.forEach((column, n) => {
      // Numbers begin with the largest one.
      const order = Boolean(column.numeric) === state.reverse ? "ascending" : "descending";
      setAttribute(shown.heads[n], "aria-sort", column.by === state.sort ? order : undefined);
    });
  }

  const isDefault = () => Object.keys(state.filter).length === 0 && state.sort === "rate" && !state.reverse;

  // Under the pointer or the focus nothing changes its place: what one is about to press stays there.
  function steady(list) {
    const isHeld = shown.matches(":hover") || shown.body.contains(document.activeElement);
    if (!isHeld || !shown.body.reconciled) return list;
    const now = new Map(list.map((of) => [of.id, of]));
    const stay = [...shown.body.reconciled.keys()].filter((id) => now.has(id)).map((id) => now.get(id));
    const known = new Set(stay);
    return [...stay, ...list.filter((of) => !known.has(of))];
  }

  function show(answer) {
    const list = steady(answer.connections);
    state.matched = answer.matched ?? list.length;
    reconcile(shown.body, list, (of) => of.id, (of) => row(columns, of));
    const filtered = Object.keys(state.filter).length > 0;
    const are = filtered ? `${count(state.matched)} match` : `${count(state.matched)} live`;
    setText(byId("matched"), state.matched > list.length ? `${are}; the first ${list.length} are shown` : are);
    const all = byId("kill-all");
    all.hidden = !filtered || !session.mayOperate() || state.matched === 0;
    setText(all, `End ${state.matched === 1 ? "this one" : `all ${count(state.matched)}`}`);
  }

  function complain(text) {
    const place = byId("query-error");
    place.hidden = !text;
    setText(place, text ?? "");
    setAttribute(byId("query"), "aria-invalid", text ? "true" : undefined);
  }

  let asking = false;
  let again = false;
  async function refresh() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    const asked = state.filter;
    try {
      const answer = await ask("/connections", { ...asked, sort: state.sort, reverse: state.reverse, limit: LIMIT, rates: true });
      if (asked === state.filter) {
        complain();
        show(answer);
      }
    } catch (error) {
      if (session.isLive()) complain(error.message);
    }
    asking = false;
    if (again) {
      again = false;
      refresh();
    }
  }

  function apply() {
    try {
      state.filter = conditions(byId("query").value);
      complain();
      refresh();
    } catch (error) {
      complain(error.message);
    }
  }

  byId("filter").addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  let typed;
  byId("query").addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(apply, 400);
  });
  byId("kill-all").addEventListener("click", async () => {
    const { filter, matched } = state;
    const words = byId("query").value.trim();
    if (await confirm(`End all connections that match “${words}”? ${count(matched)} do now.`, "End them")) await kill(filter);
  });

  // What is out of sight is not asked for; the view without a filter comes with the events.
  let isVisible = false;
  new IntersectionObserver(([entry]) => {
    isVisible = entry.isIntersecting;
  }).observe(byId("connections"));
  setInterval(() => {
    if (isVisible && !document.hidden && session.isLive() && !isDefault()) refresh();
  }, INTERVAL);
  markOrder();

  return {
    show(answer) {
      if (isDefault()) show(answer);
    },
  };
}
