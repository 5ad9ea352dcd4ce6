// A plot of a few series over the last minutes, as SVG.

import { h, svg, setAttribute, setText } from "./dom.js";
import { History } from "./history.js";
import { time } from "./format.js";

const HEIGHT = 150;
const LEFT = 66;
const BOTTOM = 20;
const TOP = 8;
const RIGHT = 6;

// A round number that is not smaller; of bytes in steps of two.
function ceiling(value, binary) {
  if (!(value > (binary ? 0 : 2))) return binary ? 1024 : 2;
  if (binary) {
    const unit = 1024 ** Math.floor(Math.log(value) / Math.log(1024));
    for (const step of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]) if (value <= step * unit) return step * unit;
  }
  const unit = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 2.5, 5, 10]) if (value <= step * unit) return step * unit;
  return 10 * unit;
}

// `series`: [{ name, title, shape }], `show`: how a value is written.
export function plot(title, series, show, binary) {
  const lines = series.map(({ name }) => ({
    area: svg("path", { class: `area ${name}` }),
    line: svg("path", { class: `line ${name}` }),
  }));
  const grid = svg("g", { class: "grid" });
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const image = svg("svg", { role: "img", "aria-label": title, height: HEIGHT }, grid,
    ...lines.flatMap(({ area, line }) => [area, line]), cursor);
  const values = series.map(() => h("b"));
  const moment = h("span", { class: "muted moment" });
  const legend = h("div", { class: "legend", "aria-hidden": "true" }, moment,
    ...series.map(({ name, title: label }, n) => h("span", null, h("i", { class: `key ${name}` }), label, " ", values[n])));
  const element = h("figure", { class: "plot" }, h("figcaption", null, title), legend, image);
  let width = 400;
  let history;
  let pointer;

  const draw = () => {
    if (!history) return;
    const samples = history.samples;
    const now = samples.at(-1)?.at ?? Date.now();
    const from = now - History.seconds * 1000;
    const most = Math.max(0, ...samples.flatMap((sample) => series.map(({ name }) => sample[name] ?? 0)));
    const top = ceiling(most, binary);
    const x = (at) => LEFT + ((at - from) / (now - from)) * (width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
    setAttribute(image, "width", width);
    setAttribute(image, "viewBox", `0 0 ${width} ${HEIGHT}`);
    grid.replaceChildren(
      ...[0, 0.5, 1].flatMap((part) => [
        svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(top * part), y2: y(top * part) }),
        svg("text", { x: LEFT - 6, y: y(top * part) + 4, "text-anchor": "end" }, show(top * part)),
      ]),
      ...(width < 460 ? [4, 2, 0] : [5, 4, 3, 2, 1, 0]).map((minutes) => svg("text", {
        x: x(now - minutes * 60000), y: HEIGHT - 5,
        "text-anchor": minutes === 0 ? "end" : minutes === 5 ? "start" : "middle",
      }, minutes === 0 ? "now" : `−${minutes} min`)),
    );
    series.forEach(({ name, solid }, n) => {
      let path = "";
      let area = "";
      let first;
      let last;
      const close = () => {
        if (first !== undefined && solid) area += `L${last},${y(0)}L${first},${y(0)}Z`;
        first = undefined;
      };
      for (const sample of samples) {
        const value = sample[name];
        if (value === undefined) {
          close();
          continue;
        }
        const at = x(sample.at).toFixed(1);
        const step = `${first === undefined ? "M" : "L"}${at},${y(value).toFixed(1)}`;
        path += step;
        area += step;
        first ??= at;
        last = at;
      }
      close();
      setAttribute(lines[n].line, "d", path || "M0,0");
      setAttribute(lines[n].area, "d", (solid && area) || "M0,0");
    });
    const shown = pointer === undefined ? samples.at(-1) : samples.reduce((best, sample) =>
      (Math.abs(x(sample.at) - pointer) < Math.abs(x(best.at) - pointer) ? sample : best), samples[0] ?? {});
    setAttribute(cursor, "visibility", pointer === undefined || !shown ? "hidden" : "visible");
    if (shown && pointer !== undefined) {
      setAttribute(cursor, "x1", x(shown.at).toFixed(1));
      setAttribute(cursor, "x2", x(shown.at).toFixed(1));
    }
    setText(moment, pointer !== undefined && shown?.at ? time(new Date(shown.at)) : "");
    series.forEach(({ name }, n) => setText(values[n], show(shown?.[name])));
    const told = series.map(({ name, title: label }) => `${label} ${show(samples.at(-1)?.[name])}`).join(", ");
    setAttribute(image, "aria-label", `${title}, the last five minutes. Now: ${told}`);
  };

  image.addEventListener("pointermove", (event) => {
    pointer = event.clientX - image.getBoundingClientRect().left;
    draw();
  });
  image.addEventListener("pointerleave", () => {
    pointer = undefined;
    draw();
  });
  new ResizeObserver(([entry]) => {
    width = Math.max(220, Math.floor(entry.contentRect.width));
    draw();
  }).observe(element);
  element.show = (samples) => {
    history = samples;
    draw();
  };
  return element;
}
