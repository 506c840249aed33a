// What this browser keeps: the key, and texts of its tabs.

const KEY = ["localStorage", "framegate-key"];

export const session = {
  key: kept(...KEY),

  keep(key) {
    this.key = kept(...KEY, key);
  },
};

/** Return a text that the browser keeps; another one replaces it, an empty one removes it. */
export function kept(storage, name, text) {
  try {
    if (text) window[storage].setItem(name, text);
    if (text === "") window[storage].removeItem(name);
    return window[storage].getItem(name) ?? "";
  } catch {
    return text ?? ""; // nothing can be stored: the text lasts as long as the tab
  }
}
