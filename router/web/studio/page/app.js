// The frame: views by the address's hash, the key, and what views tell each other.

import { get } from "./api.js";
import { fill, h, say } from "./dom.js";
import { session } from "./session.js";

const FRESH_MS = 5000; // of the list of models
const VIEWS = {
  make: () => import("./make.js"),
  keep: () => import("./keep.js"),
  run: () => import("./run.js"),
};
const main = document.getElementById("main");
const bus = new EventTarget();
const views = {};
let shown = null;
let models = null;

const page = {
  caller: null,
  on: (event, listen) => bus.addEventListener(event, (sent) => listen(sent.detail)),
  emit: (event, detail) => bus.dispatchEvent(new CustomEvent(event, { detail })),
  /** Show a view and hand it a detail. */
  go(name, detail) {
    if (location.hash !== `#${name}`) history.pushState(null, "", `#${name}`);
    return show(name, detail);
  },
  /** Return the models and routes of the server. */
  async models() {
    if (!models || Date.now() - models.at > FRESH_MS) models = { at: Date.now(), list: get("v1/models") };
    try {
      return (await models.list).data;
    } catch (error) {
      models = null;
      throw error;
    }
  },
};

async function show(name, detail) {
  if (!VIEWS[name]) name = "make";
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown && shown !== name) {
    const before = await views[shown];
    before.root.hidden = true;
    before.hide?.();
  }
  shown = name;
  views[name] ??= mount(name);
  const view = await views[name];
  if (shown !== name) return; // another one was asked for meanwhile
  view.root.hidden = false;
  view.show?.(detail);
}

async function mount(name) {
  const root = h("div", { id: `view-${name}`, class: "view", hidden: true });
  main.append(root);
  try {
    const module = await VIEWS[name]();
    return { root, ...(await (module.mount ?? module.default)(root, page)) };
  } catch (error) {
    console.error(error);
    fill(root, h("p", { class: "notice problem", role: "alert" }, `This view could not be opened: ${error.message}`));
    return { root };
  }
}

function named() {
  return location.hash.slice(1);
}

async function start() {
  VIEWS[named() || "make"]?.().catch(() => {}); // on the way beside the other answers
  const panels = get("studio/panels").catch(() => ({ data: [] }));
  try {
    page.caller = session.caller = await get("v1/me");
  } catch (error) {
    if (error.status === 401) return openKey(error.message);
    if (error.status === 0 || error.status === 429 || error.status >= 500) return offline(error);
    return fill(main, h("p", { class: "notice problem", role: "alert" }, error.message));
  }
  const { key, owner } = page.caller;
  document.getElementById("who").textContent = key ? key.name : owner === "local" ? "No key needed" : owner;
  addEventListener("popstate", () => show(named()));
  if (VIEWS[named()]) show(named());
  addPanels((await panels).data);
  if (!shown) show(named());
}

async function offline(error) {
  fill(main, h("p", { class: "notice", role: "alert" }, `${error.message}; trying again.`));
  await new Promise((later) => setTimeout(later, (error.retryAfter ?? 2) * 1000));
  fill(main);
  await start();
}

function addPanels(panels) {
  for (const panel of panels) {
    VIEWS[`panel-${panel.name}`] = () => import(new URL(panel.script, location.href).href);
    document.getElementById("views").append(h("a", { href: `#panel-${panel.name}` }, panel.title));
  }
}

function openKey(problem) {
  const [dialog, text, line] = ["key", "key-text", "key-problem"].map((id) => document.getElementById(id));
  text.value = "";
  line.hidden = !problem;
  line.textContent = problem ?? "";
  document.getElementById("key-forget").hidden = !session.key;
  if (!dialog.open) dialog.showModal();
  text.focus();
}

async function closeKey({ target: dialog }) {
  const text = document.getElementById("key-text").value.trim();
  document.getElementById("key-text").value = "";
  if (dialog.returnValue === "forget") session.keep("");
  else if (dialog.returnValue === "use" && text) session.keep(text);
  else return;
  location.reload(); // every view starts again with the other caller's jobs
}

document.getElementById("who").addEventListener("click", () => openKey());
document.getElementById("key").addEventListener("close", closeKey);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
page.on("running", (n) => {
  document.title = n ? `(${n}) Framegate` : "Framegate";
});
addEventListener("unhandledrejection", ({ reason }) => {
  if (reason?.status === undefined) return;
  if (reason.status === 401) openKey(reason.message);
  else say(reason.message);
});
start();
