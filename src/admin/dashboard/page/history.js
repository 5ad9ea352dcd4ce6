// What the plots show: the rates of the last minutes, from counters that only grow.

// As long as a page is looked at without scrolling in time.
const KEPT_SECONDS = 300;

export class History {
  constructor() {
    this.samples = [];
    this.last = undefined;
  }

  // Adds the counters of now. After a restart they are smaller, and there is a gap.
  add(totals, now) {
    const before = this.last;
    this.last = { totals, now };
    if (!before) return;
    const seconds = (now - before.now) / 1000;
    if (seconds < 0.2) return;
    const rate = (name) => {
      const change = totals[name] - before.totals[name];
      return change >= 0 && seconds < 30 ? change / seconds : undefined;
    };
    this.samples.push({
      at: now,
      live: totals.live,
      begun: rate("begun"),
      failed: rate("failed"),
      up: rate("up"),
      down: rate("down"),
    });
    const oldest = now - KEPT_SECONDS * 1000;
    while (this.samples.length && this.samples[0].at < oldest) this.samples.shift();
  }

  // The process was gone: what comes next does not continue what was.
  gap(now) {
    if (this.last) this.samples.push({ at: now });
    this.last = undefined;
  }

  get latest() {
    return this.samples.at(-1) ?? {};
  }

  static get seconds() {
    return KEPT_SECONDS;
  }
}
