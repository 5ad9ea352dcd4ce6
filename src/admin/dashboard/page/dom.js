// Elements without markup: every text is a text node, from any source.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// An element. Functions among the attributes are listeners; children are elements and texts.
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children.map((child) =>
    child instanceof Node || typeof child !== "number" ? child : String(child)));
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Sets a text only where it differs, so that a selection in it stays.
export function setText(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function setAttribute(element, name, value) {
  if (value === undefined || value === null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, String(value));
  }
}

// Makes the children of `parent` those of `items`, and keeps the ones that stay, with their focus.
// `create` returns an element with `update(item)`.
export function reconcile(parent, items, key, create) {
  const known = parent.reconciled ?? new Map();
  const names = new Set(items.map(key));
  for (const [name, child] of known) if (!names.has(name)) child.remove();
  const kept = new Map();
  const focused = document.activeElement;
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    if (kept.has(name)) continue;
    let child = known.get(name);
    if (!child) child = create(item);
    child.update(item);
    kept.set(name, child);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  parent.reconciled = kept;
  // An element that is moved loses the focus.
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

// A table with these columns: { title, name, numeric, sort }. Returns the table, with `body` and `heads`.
export function table(caption, columns) {
  const heads = columns.map((column) => {
    const head = h("th", { scope: "col", class: column.numeric ? "number" : undefined });
    if (column.sort) head.append(h("button", { type: "button", class: "sort", click: column.sort }, column.title));
    else head.append(column.title || h("span", { class: "unseen" }, "Action"));
    return head;
  });
  const body = h("tbody");
  const element = h("table", null, h("caption", null, caption), h("thead", null, h("tr", null, ...heads)), body);
  return Object.assign(element, { body, heads });
}

// A row whose cells are given by the columns' `cell(item)`: a text, or an element that is put in anew.
export function row(columns, item, attributes) {
  const cells = columns.map((column, n) => h(n === 0 && column.head !== false ? "th" : "td", {
    scope: n === 0 && column.head !== false ? "row" : undefined,
    class: column.numeric ? "number" : column.kind,
    "data-label": column.title || undefined,
  }));
  const element = h("tr", attributes, ...cells);
  element.update = (now) => {
    columns.forEach((column, n) => {
      if (column.render) column.render(cells[n], now);
      else setText(cells[n], column.cell(now));
    });
  };
  element.update(item);
  return element;
}

export function badge(text, kind) {
  return h("span", { class: `badge ${kind ?? ""}` }, text);
}

// One badge in a cell, changed in place.
export function setBadge(cell, text, kind) {
  let shown = cell.firstElementChild;
  if (!shown) {
    shown = badge("", "");
    cell.append(shown);
  }
  setText(shown, text);
  setAttribute(shown, "class", `badge ${kind ?? ""}`.trim());
}

let toasts;

export function toast(text) {
  const place = byId("toast");
  setText(place, text);
  place.classList.add("shown");
  clearTimeout(toasts);
  toasts = setTimeout(() => place.classList.remove("shown"), 6000);
}

// Asks before something is done that cannot be taken back.
export function confirm(text, yes) {
  const dialog = byId("confirm");
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  return new Promise((done) => {
    const end = (answer) => () => {
      dialog.close();
      done(answer);
    };
    byId("confirm-yes").onclick = end(true);
    byId("confirm-no").onclick = end(false);
    dialog.oncancel = () => done(false);
    dialog.showModal();
    byId("confirm-no").focus();
  });
}
