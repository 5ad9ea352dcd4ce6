// Endpoints with their routes, and limits with how full they are.

import { byId, h, reconcile, row, setAttribute, setBadge, setText, table } from "./dom.js";
import { bytesPerSecond, count, perSecond, words } from "./format.js";

const STATES = { listening: "ok", drained: "warn", closed: "bad" };
const ROWS_MAX = 300;
const LIMITS_MAX = 40;

const COLUMNS = [
  { title: "Endpoint, route", render(cell, item) {
    setText(cell, item.title);
    setAttribute(cell, "class", item.isRoute ? "route" : "endpoint");
  } },
  { title: "State", render: (cell, item) => !item.isRoute && setBadge(cell, item.state, STATES[item.state]) },
  { title: "Addresses", cell: (item) => item.addresses ?? "", kind: "break" },
  { title: "Live", numeric: true, cell: (item) => count(item.live) },
  { title: "New", numeric: true, cell: (item) => (item.isRoute ? "" : perSecond(item.begun)) },
  { title: "Ended", numeric: true, cell: (item) => (item.isRoute ? perSecond(item.ended) : "") },
  { title: "Failures", numeric: true, render(cell, item) {
    setText(cell, perSecond(item.failures));
    cell.classList.toggle("warn", item.failures > 0);
  } },
  { title: "To origins", numeric: true, cell: (item) => bytesPerSecond(item.up) },
  { title: "To clients", numeric: true, cell: (item) => bytesPerSecond(item.down) },
];

const rates = (of) => ({
  failures: of.failures_per_second,
  up: of.bytes_up_per_second,
  down: of.bytes_down_per_second,
});

function rowsOf(status, stats) {
  const known = new Map((stats?.endpoints ?? []).map((of) => [of.endpoint, of]));
  const routes = new Map();
  const last = (route) => (route.route === null ? 1 : 0);
  for (const route of [...(stats?.routes ?? [])].sort((a, b) => last(a) - last(b))) {
    if (!routes.has(route.endpoint)) routes.set(route.endpoint, []);
    routes.get(route.endpoint).push(route);
  }
  const rows = [];
  for (const endpoint of status.endpoints ?? []) {
    const name = endpoint.endpoint;
    const of = known.get(name) ?? {};
    rows.push({
      key: name, title: name, state: endpoint.state, addresses: endpoint.addresses.join(", "),
      live: of.live ?? endpoint.connections, begun: of.connections_per_second, ...rates(of),
    });
    for (const route of routes.get(name) ?? []) {
      // Connections that have reached no route are a row once there are any.
      if (route.route === null && !route.ended && !route.failures) continue;
      rows.push({
        key: `${name}/${route.route ?? ""}`, isRoute: true, title: route.route ?? "no route",
        live: route.live, ended: route.ended_per_second, ...rates(route),
      });
    }
  }
  return rows;
}

function limitRow() {
  const name = h("span");
  const value = h("span", { class: "muted" });
  const bar = h("meter", { min: 0, max: 1, high: 0.9, low: 0.7, optimum: 0 });
  const element = h("div", { class: "limit" }, name, bar, value);
  element.update = (limit) => {
    const title = words(limit.limit);
    setText(name, title);
    setAttribute(bar, "aria-label", title);
    const hasUse = typeof limit.used === "number" && typeof limit.max === "number" && limit.max > 0;
    setAttribute(bar, "value", hasUse ? (limit.used / limit.max).toFixed(3) : 0);
    bar.hidden = !hasUse;
    const parts = [hasUse ? `${count(limit.used)} of ${count(limit.max)}` : String(limit.value ?? "no limit")];
    if (limit.reached) parts.push(`reached ${count(limit.reached)} ×`);
    if (limit.waiting) parts.push(`${count(limit.waiting)} wait`);
    if (limit.refused) parts.push(`${count(limit.refused)} refused`);
    if (limit.would_refuse) parts.push(`${count(limit.would_refuse)} would be refused`);
    setText(value, parts.join(", "));
  };
  return element;
}

const fullness = (limit) => (limit.max > 0 ? limit.used / limit.max : 0) + (limit.refused ? 1 : 0);

export function endpoints() {
  const shown = table("Endpoints and routes", COLUMNS);
  byId("endpoints-table").append(shown);
  return (status, stats) => {
    const rows = rowsOf(status, stats);
    const visible = rows.slice(0, ROWS_MAX);
    reconcile(shown.body, visible, (item) => item.key, (item) =>
      row(COLUMNS, item, { class: item.isRoute ? "is-route" : "is-endpoint" }));
    setText(shown.caption, rows.length > ROWS_MAX ? `The first ${ROWS_MAX} of ${rows.length} endpoints and routes` : "Endpoints and routes");
    // One with neither a bound nor use says nothing.
    const limits = (status.limits ?? []).filter((limit) => limit.max !== null);
    limits.sort((a, b) => fullness(b) - fullness(a));
    reconcile(byId("limits"), limits.slice(0, LIMITS_MAX), (limit) => limit.limit, limitRow);
  };
}
