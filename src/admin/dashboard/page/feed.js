// The stream of events, which comes back by itself, and requests. Paths are relative: `ctl dashboard` serves the page
// below a secret one.

// A process that says nothing for this long is gone: it says something every second.
const SILENCE_MAX = 8000;
const RETRY_MIN = 1000;
const RETRY_MAX = 10000;

// Calls `on[event](data)` for each event, and `link(state, since)` when the process comes or goes.
export function follow(on, link) {
  let source;
  let silence;
  let pause = RETRY_MIN;
  let heard = Date.now();

  const alive = () => {
    heard = Date.now();
    pause = RETRY_MIN;
    clearTimeout(silence);
    silence = setTimeout(lost, SILENCE_MAX);
    link("live");
  };

  const lost = () => {
    clearTimeout(silence);
    source?.close();
    source = undefined;
    link("gone", heard);
    explain(link);
    setTimeout(open, pause);
    pause = Math.min(pause * 1.5, RETRY_MAX);
  };

  const open = () => {
    if (source) return;
    source = new EventSource("./events");
    const mine = source;
    for (const [name, take] of Object.entries(on)) {
      mine.addEventListener(name, (event) => {
        if (mine !== source) return;
        alive();
        take(JSON.parse(event.data));
      });
    }
    // Its own reconnection knows no page that says so.
    mine.addEventListener("error", () => mine === source && lost());
    clearTimeout(silence);
    silence = setTimeout(lost, SILENCE_MAX);
  };

  open();
  // After a suspend or a change of network, at once.
  addEventListener("online", () => !source && open());
  document.addEventListener("visibilitychange", () => !document.hidden && !source && open());
}

// Says why there are no events, if the process answers something else.
async function explain(link) {
  try {
    const { status } = await fetch("./healthz", { cache: "no-store" });
    if (status === 200) link("full");
    else if (status === 401 || status === 403) link("refused");
  } catch {
    // It is gone, as was said.
  }
}

// The answer to a request; an Error with what the process says if it refuses.
export async function ask(path, body) {
  const options = { headers: { accept: "application/json" }, cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(`.${path}`, options);
  let answer;
  try {
    answer = await response.json();
  } catch {
    answer = {};
  }
  if (!response.ok) throw new Error(answer.error ?? `refused with status ${response.status}`);
  return answer;
}
