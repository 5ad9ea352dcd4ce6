// How fast the dashboard is in Chromium. Started by benches/load/overload/admin/page.rs; prints its figures as JSON.

import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { URL_OF_PAGE: url, MODULES: modules, CHROMIUM: program } = process.env;
const { chromium } = createRequire(`${modules}/`)("playwright-core");

const ROUNDS = 10;
const WATCHED_MS = 10_000;

const profile = mkdtempSync(join(tmpdir(), "reseal-pace-"));
const browser = await chromium.launch({
  executablePath: program,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-component-update", "--no-first-run"],
  env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
});
const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });

const begun = performance.now();
await page.goto(url);
await page.waitForFunction(() => document.querySelectorAll("#connections-table tbody tr").length > 0);
const opened = performance.now() - begun;
await page.locator("#connections").scrollIntoViewIfNeeded();

// From a filter's submission until its count shows, looked at in each frame. No connection is in its setup.
const filter = (query) => page.evaluate((query) => new Promise((done) => {
  const begun = performance.now();
  document.querySelector("#query").value = query;
  document.querySelector("#filter").requestSubmit();
  const isShown = () => /^0 match/.test(document.querySelector("#matched").textContent) === (query === "stage:setup");
  const look = () => (isShown() ? done(performance.now() - begun) : requestAnimationFrame(look));
  requestAnimationFrame(look);
}), query);

// From a click on the head of a column until rows show: it empties the table at once.
const sort = () => page.evaluate(() => new Promise((done) => {
  const begun = performance.now();
  const heads = [...document.querySelectorAll("#connections-table th button")];
  heads.find((head) => head.textContent === "Age").click();
  const isShown = () => document.querySelectorAll("#connections-table tbody tr").length > 0;
  const look = () => (isShown() ? done(performance.now() - begun) : requestAnimationFrame(look));
  requestAnimationFrame(look);
}));

// What happens while nobody touches the page: the times between frames, and the longest task above 50 ms.
const watch = () => page.evaluate((time) => new Promise((done) => {
  const frames = [];
  let longest = 0;
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
  }).observe({ type: "longtask" });
  const begun = performance.now();
  let last = begun;
  const look = (now) => {
    frames.push(now - last);
    last = now;
    if (now - begun < time) requestAnimationFrame(look);
    else done({ frames: frames.slice(2), longest });
  };
  requestAnimationFrame(look);
}), WATCHED_MS);

const at = (list, part) => list.sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))];

const filters = [];
for (let round = 0; round < ROUNDS; round++) {
  filters.push(await filter("stage:setup"), await filter("stage:relay"));
}
const sorts = [];
for (let round = 0; round < ROUNDS; round++) sorts.push(await sort());
await filter("stage:setup");
await page.evaluate(() => {
  document.querySelector("#query").value = "";
  document.querySelector("#filter").requestSubmit();
});
const devtools = await page.context().newCDPSession(page);
await devtools.send("Performance.enable");
const busy = async () => (await devtools.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value;
const before = await busy();
const { frames, longest } = await watch();
const spent = (await busy()) - before;
console.log(JSON.stringify({
  open_ms: opened,
  filter_ms: at(filters, 0.5),
  sort_ms: at(sorts, 0.5),
  frame_p99_ms: at(frames, 0.99),
  task_longest_ms: longest,
  busy_percent: (spent / WATCHED_MS) * 1e5,
}));
await browser.close();
rmSync(profile, { recursive: true, force: true });
