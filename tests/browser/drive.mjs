// Drives the dashboard in Chromium. Started by tests/it/admin/dashboard.rs as `node drive.mjs CASE`; the facts of
// the case are in the environment. A line `next: WHAT` asks the test to do something, and waits for a line.

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { mkdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";

const { URL_OF_PAGE: url, MODULES: modules, SHOTS: shots, PASSWORD: password, CHROMIUM: program, PROFILE: profile } = process.env;
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const WAIT = { timeout: 20_000 };

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function next(what) {
  console.log(`next: ${what}`);
  const { value } = await lines.next();
  return value;
}

// A browser, and a page in it that notes every request and every complaint.
async function open(more = {}) {
  const browser = await chromium.launch({
    executablePath: program,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-component-update", "--no-first-run"],
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
  });
  const context = await browser.newContext({
    viewport: { width: 1440, height: 1000 },
    reducedMotion: "reduce",
    ignoreHTTPSErrors: true,
    httpCredentials: password ? { username: "", password } : undefined,
    ...more,
  });
  context.setDefaultTimeout(WAIT.timeout);
  const page = await context.newPage();
  const seen = { requests: [], complaints: [] };
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && seen.complaints.push(message.text()));
  page.on("pageerror", (error) => seen.complaints.push(String(error)));
  page.on("dialog", (dialog) => seen.complaints.push(`a dialog: ${dialog.message()}`));
  return { browser, context, page, seen };
}

const text = (page, selector) => page.locator(selector).innerText();

async function shoot(page, name) {
  mkdirSync(shots, { recursive: true });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const serious = found.violations.filter((of) => ["serious", "critical"].includes(of.impact));
  const told = serious.map((of) => `${where}: ${of.id}: ${of.help}: ${of.nodes.map((node) => node.target).join(" | ")}`);
  assert.deepEqual(told, []);
}

// Where the page may ask: only where it comes from itself.
function stays(seen) {
  const origin = new URL(url).origin;
  assert.deepEqual(seen.requests.filter((asked) => new URL(asked).origin !== origin), []);
}

// Traffic, filter, end, screenshots, without a complaint.
async function operate() {
  const { browser, page, seen } = await open();
  const response = await page.goto(url);
  const headers = (await response.allHeaders());
  const policy = headers["content-security-policy"];
  assert.ok(policy.includes("default-src 'none'") && policy.includes("frame-ancestors 'none'"), policy);
  assert.ok(!policy.includes("unsafe-"), policy);
  await page.waitForSelector("#link[data-state=live]");
  // Live traffic: counted, and moving.
  await page.waitForFunction(() => Number(document.querySelector(".tile.live b").textContent) >= 3);
  await page.waitForFunction(() => /[1-9]/.test(document.querySelector(".tile.down b").textContent));
  await page.waitForFunction(() => document.querySelectorAll(".plot .line")[0].getAttribute("d").split("L").length > 3);
  await page.waitForFunction(() => document.querySelector("#failures-list").textContent.includes("unknown_sni"));
  const unknown = page.locator(".failure", { hasText: "unknown_sni" });
  await unknown.locator("summary").click();
  assert.match(await unknown.innerText(), /What to do/);
  assert.match(await text(page, "#certificates-table"), /served by edge/);
  assert.match(await text(page, "#certificates-table"), /not issued\s+kept by le\s+c\.test/);
  assert.match(await text(page, "#origins-table"), /up/);
  assert.match(await text(page, "#endpoints-table"), /edge/);

  // A name that is markup is a text, and nothing else.
  await page.waitForFunction(() => document.querySelector("#connections-table").textContent.includes("img src"));
  assert.equal(await page.locator("main img").count(), 0);

  await page.locator("#query").fill("sni:b.test");
  await page.locator("#query").press("Enter");
  await page.waitForFunction(() => document.querySelector("#matched").textContent.startsWith("1 match"));
  const rows = page.locator("#connections-table tbody tr");
  assert.equal(await rows.count(), 1);
  assert.match(await rows.first().innerText(), /b\.test/);
  await page.locator("#query").fill("nonsense:1");
  await page.waitForSelector("#query-error:not([hidden])");
  await page.locator("#query").fill("older:0s");
  await page.waitForFunction(() => document.querySelectorAll("#connections-table tbody tr").length >= 3);
  await page.getByRole("button", { name: "Age", exact: true }).click();
  await page.waitForSelector("th[aria-sort=descending] >> text=Age");

  for (const [name, scheme, width, height] of [["light", "light", 1440, 1000], ["dark", "dark", 1440, 1000], ["phone", "light", 390, 844], ["phone-dark", "dark", 390, 844]]) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height });
    await page.waitForFunction((width) => document.querySelector(".plot svg").getBoundingClientRect().width <= width, width);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: the page is wider than its window`);
    await shoot(page, name);
    await accessible(page, name);
  }
  await page.setViewportSize({ width: 1440, height: 1000 });

  // By the keyboard alone: from the filter to the button, and through the question.
  await page.locator("#query").fill("sni:b.test");
  await page.locator("#query").press("Enter");
  await page.waitForFunction(() => document.querySelector("#matched").textContent.startsWith("1 match"));
  const end = rows.first().getByRole("button", { name: /^End connection/ });
  await end.focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open]");
  await shoot(page, "question");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog:not([open])", { state: "attached" });
  await end.focus();
  await page.keyboard.press("Enter");
  await page.locator("#confirm-yes").click();
  await page.waitForFunction(() => document.querySelector("#matched").textContent.startsWith("0 match"));
  await next("b.test must be closed");

  await page.locator("#plan").click();
  await page.waitForFunction(() => /Plan of/.test(document.querySelector("#plan-answer").textContent));
  stays(seen);
  assert.deepEqual(seen.complaints, []);
  await browser.close();
}

// A `read` token: everything is shown, nothing can be changed.
async function read() {
  const { browser, page, seen } = await open();
  await page.goto(url);
  await page.waitForSelector("#link[data-state=live]");
  await page.waitForFunction(() => document.querySelectorAll("#connections-table tbody tr").length >= 1);
  for (const button of ["#connections-table td.action button", "#origins-table td.action button", "#kill-all", "#reload"]) {
    assert.equal(await page.locator(`${button}:visible`).count(), 0, button);
  }
  const status = await page.evaluate(async () =>
    (await fetch("/log-level", { method: "POST", body: JSON.stringify({ level: "debug" }) })).status);
  assert.equal(status, 403);
  stays(seen);
  // The refusal that was just asked for.
  assert.deepEqual(seen.complaints.filter((complaint) => !complaint.includes("403")), []);
  await browser.close();
}

// The process ends and another one begins.
async function gone() {
  const { browser, page } = await open();
  await page.goto(url);
  await page.waitForSelector("#link[data-state=live]");
  const before = await page.waitForFunction(() => /^\d+/.exec(document.querySelector("#facts").textContent.split("Process")[1] ?? "")?.[0]);
  await next("stop the process");
  await page.waitForSelector("#gone:not([hidden])");
  assert.match(await text(page, "#gone"), /has not answered since/);
  await shoot(page, "gone");
  await accessible(page, "gone");
  await next("start the process");
  await page.waitForSelector("#link[data-state=live]");
  assert.equal(await page.locator("#gone:visible").count(), 0);
  await page.waitForFunction((old) => !document.querySelector("#facts").textContent.includes(`Process${old}`), await before.jsonValue());
  await browser.close();
}

// A page of another site in a browser that may use the listener.
async function strange() {
  const { browser, context, page } = await open();
  await page.goto(url);
  await page.waitForSelector("#link[data-state=live]");
  // No other site knows the secret path of `ctl dashboard`; it would help none.
  const target = page.url().replace(/\/dashboard$/, "");
  const statuses = [];
  context.on("response", (response) => {
    if (response.url().startsWith(target)) statuses.push([response.request().method(), new URL(response.url()).pathname, response.status()]);
  });
  const cookies = [];
  const evil = createServer((request, response) => {
    cookies.push(request.headers.cookie);
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>evil</title><iframe name=frame></iframe>
      <form method=post action="${target}/log-level" target=frame enctype="text/plain"><input name='{"level":"trace","x":"' value='"}'></form>`);
  });
  await new Promise((done) => evil.listen(0, "127.0.0.1", done));
  const other = await context.newPage();
  // Another site than 127.0.0.1, though the same machine.
  await other.goto(`http://localhost:${evil.address().port}/`);
  const answers = await other.evaluate(async (target) => {
    const tried = {};
    const body = JSON.stringify({ level: "trace" });
    const attempt = async (name, path, options) => {
      try {
        const response = await fetch(target + path, options);
        tried[name] = response.type === "opaque" ? "opaque" : await response.text();
      } catch {
        tried[name] = "refused";
      }
    };
    await attempt("cors", "/log-level", { method: "POST", body, credentials: "include", headers: { "content-type": "application/json" } });
    await attempt("simple", "/log-level", { method: "POST", body, credentials: "include", mode: "no-cors" });
    await attempt("read", "/status", { credentials: "include" });
    await attempt("blind", "/status", { credentials: "include", mode: "no-cors" });
    tried.events = await new Promise((done) => {
      const source = new EventSource(`${target}/events`, { withCredentials: true });
      source.onopen = () => done("open");
      source.onerror = () => done("refused");
    });
    tried.image = await new Promise((done) => {
      const image = new Image();
      image.onload = () => done("loaded");
      image.onerror = () => done("refused");
      image.src = `${target}/dashboard/icon.svg`;
    });
    document.forms[0].submit();
    const frame = document.createElement("iframe");
    frame.src = `${target}/dashboard`;
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; });
    return tried;
  }, target);
  assert.deepEqual(answers, { cors: "refused", simple: "opaque", read: "refused", blind: "opaque", events: "refused", image: "refused" });
  // A form that posts and navigates the whole window.
  await Promise.all([
    other.waitForResponse((response) => response.url() === `${target}/log-level` && response.request().method() === "POST"),
    other.evaluate(() => { document.forms[0].target = "_self"; document.forms[0].submit(); }),
  ]);
  // But for what the page itself asks for.
  const passed = statuses.filter(([, path, status]) => status < 400 && !/\/(events|connections)$/.test(path));
  assert.deepEqual(passed, []);
  assert.ok(statuses.some(([method, path, status]) => method === "POST" && path.endsWith("/log-level") && status === 403), JSON.stringify(statuses));
  assert.ok(statuses.some(([method, path, status]) => method === "GET" && path.endsWith("/dashboard") && status === 403), "a frame");
  // Cookies know no ports: a server beside ours, on the same host, must get none of ours, not even from its own page.
  const beside = await context.newPage();
  await beside.goto(`http://127.0.0.1:${evil.address().port}/`);
  await Promise.all([beside.waitForURL("**/again"), beside.evaluate(() => location.assign("/again"))]);
  assert.deepEqual(cookies.filter(Boolean), []);
  evil.close();
  await browser.close();
}

const cases = { operate, read, gone, strange };
try {
  await cases[process.argv[2]]();
  console.log("done");
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}
