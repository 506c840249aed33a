// View make.

import { fill, h } from "./dom.js";

export function mount(root) {
  fill(root, h("h1", null, "Make"));
}
