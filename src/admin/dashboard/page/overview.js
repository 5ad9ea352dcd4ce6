// The numbers of the process: tiles, plots and facts.

import { byId, h, reconcile, setAttribute, setText } from "./dom.js";
import { bytesPerSecond, count, duration, perSecond } from "./format.js";
import { plot } from "./plot.js";

const TILES = [
  ["live", "Live connections", (now) => count(now.live)],
  ["begun", "New connections", (now) => perSecond(now.begun)],
  ["up", "To origins", (now) => bytesPerSecond(now.up)],
  ["down", "To clients", (now) => bytesPerSecond(now.down)],
  ["failed", "Failures", (now) => perSecond(now.failed), (now) => (now.failed > 0 ? "warn" : "")],
  ["origins", "Origins in use", (now) => now.origins?.text ?? "–", (now) => now.origins?.kind ?? ""],
];

const FACTS = [
  ["Uptime", (status) => duration(status.uptime_seconds)],
  ["Configuration", (status) => `${status.config}, generation ${status.generation}`],
  ["Process", (status) => `${status.pid}${status.user ? `, user ${status.user}` : ""}`],
  ["Sandbox", (status) => `${status.sandbox} (Landlock ${status.landlock}, seccomp ${status.seccomp})`],
];

export function overview() {
  const tiles = TILES.map(([name, title, show, kind]) => {
    const value = h("b");
    const tile = h("div", { class: `tile ${name}` }, h("span", null, title), value);
    tile.show = (now) => {
      setText(value, show(now));
      setAttribute(tile, "data-kind", kind?.(now));
    };
    return tile;
  });
  byId("tiles").append(...tiles);
  const plots = [
    plot("Throughput", [
      { name: "down", title: "to clients", solid: true },
      { name: "up", title: "to origins", solid: true },
    ], bytesPerSecond, true),
    plot("Connections", [
      { name: "begun", title: "new", solid: true },
      { name: "failed", title: "failed" },
    ], perSecond),
    plot("Live connections", [{ name: "live", title: "live", solid: true }], count),
  ];
  byId("plots").append(...plots);

  let origins;
  return {
    history(history) {
      for (const shown of plots) shown.show(history);
      for (const tile of tiles) tile.show({ ...history.latest, origins });
    },
    origins(list) {
      const usable = list.filter((origin) => origin.state === "up").length;
      const kind = usable === list.length ? "ok" : usable === 0 ? "bad" : "warn";
      origins = { text: `${usable} of ${list.length}`, kind };
    },
    status(status) {
      const facts = FACTS.map(([title, show]) => ({ title, text: show(status) }));
      reconcile(byId("facts"), facts, ({ title }) => title, ({ title }) => {
        const value = h("dd");
        const fact = h("div", null, h("dt", null, title), value);
        fact.update = ({ text }) => setText(value, text);
        return fact;
      });
      const notes = [];
      if (status.restart_needed) notes.push(`Restart needed: ${status.restart_needed.join(", ")}.`);
      if (status.drained_endpoints) notes.push(`Drained by hand: ${status.drained_endpoints.join(", ")}.`);
      if (status.connections_leaving) notes.push(`${count(status.connections_leaving)} connections are about to end.`);
      if (status.drain_seconds_left !== undefined) notes.push(`The process stops: ${duration(status.drain_seconds_left)} are left.`);
      if (status.last_reload?.result === "refused") notes.push("The last reload was refused: see Reloads.");
      setText(byId("notes"), notes.join(" "));
    },
  };
}
