// The dashboard: puts its parts together.

import { byId, setAttribute, setText } from "./dom.js";
import { follow } from "./feed.js";
import { duration, time } from "./format.js";
import { History } from "./history.js";
import { overview } from "./overview.js";
import { endpoints } from "./endpoints.js";
import { origins } from "./origins.js";
import { connections } from "./connections.js";
import { failures } from "./failures.js";
import { certificates } from "./certificates.js";
import { reloads } from "./reloads.js";

const PHASES = { serving: "ok", "lame duck": "warn", draining: "warn" };

// What the parts know of the process and of us. Times of the process are compared with its own clock.
const session = {
  role: "read",
  link: "connecting",
  skew: 0,
  mayOperate: () => session.role !== "read",
  isLive: () => session.link === "live",
  now: () => Date.now() + session.skew,
};

const history = new History();
const shows = {
  overview: overview(),
  endpoints: endpoints(),
  origins: origins(session),
  connections: connections(session),
  failures: failures(),
  certificates: certificates(),
  reloads: reloads(session),
};
const known = {};

function status(now) {
  if (known.status && known.status.pid !== now.pid) history.gap(session.now());
  known.status = now;
  setText(byId("phase"), now.phase);
  setAttribute(byId("phase"), "class", `badge ${PHASES[now.phase] ?? ""}`);
  setText(byId("build"), `Reseal ${now.version}`);
  document.title = `${now.phase === "serving" ? "" : `${now.phase} – `}Reseal ${location.host}`;
  shows.overview.status(now);
  shows.endpoints(now, known.stats);
  if (!known.reloads && now.last_reload) shows.reloads([now.last_reload]);
}

function stats(now) {
  known.stats = now;
  session.skew = Date.parse(now.time) - Date.now();
  const { live, connections: begun, failures: failed, bytes_up: up, bytes_down: down } = now.totals;
  history.add({ live, begun, failed, up, down }, Date.parse(now.time));
  shows.overview.history(history);
  if (known.status) shows.endpoints(known.status, now);
  if (known.failures) shows.failures(known.failures, now);
}

let goneSince;
let counting;

const REASONS = {
  full: "The process answers, but gives this page no events: too many dashboards are open. The page tries again by itself.",
  refused: "The process no longer takes this browser's token or cookie. Open the page anew.",
};

function link(state, since) {
  const gone = byId("gone");
  if (REASONS[state]) {
    if (session.link === "gone") setText(gone, REASONS[state]);
    return;
  }
  if (state === "live" && session.link !== "live") {
    gone.hidden = true;
    clearInterval(counting);
    document.body.classList.remove("is-gone");
    setText(byId("link-text"), "live");
  }
  if (state === "gone" && session.link !== "gone") {
    goneSince = since;
    history.gap(session.now());
    document.body.classList.add("is-gone");
    setText(byId("link-text"), "no answer");
    setText(gone, `The process has not answered since ${time(new Date(goneSince))}: it is gone, or this page cannot reach it. What is shown is from then. The page tries again by itself.`);
    gone.hidden = false;
    counting = setInterval(() => setText(byId("link-text"), `no answer for ${duration((Date.now() - goneSince) / 1000)}`), 1000);
  }
  session.link = state;
  setAttribute(byId("link"), "data-state", state);
}

const THEMES = ["auto", "light", "dark"];
let theme = THEMES.includes(kept()) ? kept() : "auto";

// A browser may keep nothing.
function kept(value) {
  try {
    if (value === undefined) return localStorage.getItem("theme");
    localStorage.setItem("theme", value);
  } catch {
    return undefined;
  }
}

function dress() {
  setAttribute(document.documentElement, "data-theme", theme === "auto" ? undefined : theme);
  setText(byId("theme"), `Theme: ${theme}`);
}

byId("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  kept(theme);
  dress();
});

dress();
setText(byId("place"), location.host);
follow({
  you(now) {
    session.role = now.role;
    document.body.classList.toggle("may-operate", session.mayOperate());
  },
  status,
  stats,
  origins(now) {
    shows.overview.origins(now.origins);
    shows.origins(now.origins);
  },
  connections: (now) => shows.connections.show(now),
  failures(now) {
    known.failures = now;
    shows.failures(now, known.stats);
  },
  certificates: (now) => shows.certificates(now),
  reloads(now) {
    known.reloads = now;
    shows.reloads(now.reloads);
  },
}, link);
