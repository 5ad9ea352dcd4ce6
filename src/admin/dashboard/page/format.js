// Numbers and times for people.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export const bytesPerSecond = (value) => (Number.isFinite(value) ? `${bytes(value)}/s` : "–");

export function count(value) {
  if (!Number.isFinite(value)) return "–";
  return Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

export function perSecond(value) {
  if (!Number.isFinite(value)) return "–";
  return `${value > 0 && value < 10 ? value.toFixed(1) : count(value)}/s`;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function time(moment) {
  const date = moment instanceof Date ? moment : new Date(moment);
  return Number.isNaN(date.getTime()) ? "–" : TIME.format(date);
}

// A time of the process as a time ago; `now` in milliseconds.
export function ago(moment, now) {
  const then = Date.parse(moment);
  return Number.isNaN(then) ? "–" : duration((now - then) / 1000);
}

export const words = (text) => String(text ?? "").replaceAll("_", " ");
