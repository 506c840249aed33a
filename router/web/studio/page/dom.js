// Elements without a framework: text is always text, never HTML.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "readOnly", "muted"]);
const SVG = "http://www.w3.org/2000/svg";
const toasts = document.getElementById("toasts");

/** Return an element; `svg:rect` makes one of SVG, functions named `on...` listen. */
export function h(tag, props, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  node.append(...shown(children)); // first: a select takes its value from its options
  for (const [name, value] of Object.entries(props ?? {})) set(node, name, value);
  return node;
}

export const button = (text, onclick, kind) => h("button", { type: "button", class: kind, onclick }, text);
export const soft = (...text) => h("p", { class: "soft" }, text);
export const problem = (...text) => h("p", { class: "problem", role: "alert" }, text);

/** Return a table whose rows begin with their heads; a narrow page scrolls it. */
export function table(caption, heads, rows) {
  const cells = ([first, ...rest]) => [h("th", { scope: "row" }, first), rest.map((cell) => h("td", null, cell))];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null,
      h("thead", null, h("tr", null, heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", null, rows.map((row) => h("tr", null, cells(row))))));
}

export function fill(node, ...children) {
  node.replaceChildren(...shown(children));
  return node;
}

/** Show a message for some seconds, and announce it to screen readers. */
export function say(text) {
  const line = h("p", null, text);
  (document.querySelector("dialog[open]") ?? document.body).append(toasts); // a dialog hides all that is outside of it
  toasts.append(line);
  if (toasts.children.length > 3) toasts.firstChild.remove();
  setTimeout(() => line.remove(), 6000);
}

function shown(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false);
}

function set(node, name, value) {
  if (value == null || value === false) return;
  if (typeof value === "function") node.addEventListener(name.slice(2), value);
  else if (PROPERTIES.has(name)) node[name] = value;
  else node.setAttribute(name, value === true ? "" : value);
}
