// Elements without a framework: text is always text, never HTML.

const PROPERTIES = new Set([
  "value", "checked", "disabled", "hidden", "selected", "multiple", "required", "readOnly", "muted", "loop", "controls", "open", "src", "htmlFor",
]);
const SVG = "http://www.w3.org/2000/svg";

/** Return an element; `svg:rect` makes one of SVG, functions named `on...` listen. */
export function h(tag, props, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  append(node, children); // first: a select takes its value from its options
  for (const [name, value] of Object.entries(props ?? {})) set(node, name, value);
  return node;
}

/** Replace the children of an element. */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

/** Show a message for some seconds, and announce it to screen readers. */
export function say(text) {
  const line = h("p", null, text);
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), 6000);
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
}

function set(node, name, value) {
  if (typeof value === "function") node.addEventListener(name.slice(2), value);
  else if (PROPERTIES.has(name)) node[name] = value ?? "";
  else if (value === true) node.setAttribute(name, "");
  else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
}
