// The key of this browser, and the caller behind it.

const NAME = "framegate-key";

export const session = {
  key: stored(),
  caller: null, // the answer of /v1/me

  keep(key) {
    this.key = key;
    try {
      if (key) localStorage.setItem(NAME, key);
      else localStorage.removeItem(NAME);
    } catch {
      // a browser that stores nothing: the key lasts as long as the tab
    }
  },
};

function stored() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}
