// The frame: views by the address's hash, the key, and what views tell each other.

import { get, isBreak, wait } from "./api.js";
import { fill, h, problem, say } from "./dom.js";
import { session } from "./session.js";

const VIEWS = Object.fromEntries(["make", "keep", "run"].map((name) => [name, () => import(`./${name}.js`)]));
const NO_KEY = "This is no key of this server";
const ids = ["main", "views", "who", "key", "key-text", "key-problem", "key-forget"];
const [main, links, who, dialog, key, refused, forget] = ids.map((id) => document.getElementById(id));
const listeners = {};
const views = {};
const named = () => location.hash.slice(1);
let shown;

const page = {
  on: (event, listen) => (listeners[event] ??= []).push(listen),
  emit: (event, detail) => listeners[event]?.forEach((listen) => listen(detail)),
  go(name, detail) {
    if (location.hash !== `#${name}`) history.pushState(null, "", `#${name}`);
    return show(name, detail);
  },
  models: async () => (await get("v1/models")).data,
};

async function show(name, detail) {
  if (!VIEWS[name]) name = "make";
  for (const link of links.children) link.ariaCurrent = link.hash === `#${name}` ? "page" : null;
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
  const root = h("div", { id: `view-${name}`, hidden: true });
  main.append(root);
  try {
    const module = await VIEWS[name]();
    return { root, ...(await (module.mount ?? module.default)(root, page)) };
  } catch (error) {
    if (error.status === 401) refuseKey(error);
    else console.error(error);
    fill(root, problem(`This view could not be opened: ${error.message}`));
    return { root };
  }
}

async function start() {
  VIEWS[named() || "make"]?.().catch(() => {}); // on the way beside the other answers
  const panels = get("studio/panels").catch(() => ({ data: [] }));
  try {
    page.caller = await get("v1/me");
  } catch (error) {
    if (error.status === 401) return refuseKey(error);
    fill(main, problem(error.message, isBreak(error) && "; trying again."));
    if (!isBreak(error)) return;
    await wait((error.retryAfter ?? 2) * 1000);
    fill(main);
    return start();
  }
  const { key: used, owner } = page.caller;
  who.textContent = used?.name ?? owner;
  who.hidden = !used && owner === "local"; // which needs none
  addEventListener("popstate", () => VIEWS[named() || "make"] && show(named())); // #main is no view
  if (VIEWS[named()]) show(named());
  for (const { name, title, script } of (await panels).data) {
    VIEWS[`panel-${name}`] = () => import(new URL(script, location.href).href);
    links.append(h("a", { href: `#panel-${name}` }, title));
  }
  if (!shown) show(named());
}

function refuseKey({ message }) {
  const more = /unknown|form/.test(message) ? "." : `: ${message}`; // revoked or expired
  openKey(session.key && NO_KEY + more);
}

function openKey(words = "") {
  key.value = dialog.returnValue = "";
  refused.textContent = words;
  forget.hidden = !session.key;
  if (!dialog.open) dialog.showModal();
  key.focus();
}

function closeKey() {
  const text = key.value.trim();
  key.value = "";
  if (dialog.returnValue === "forget") session.keep("");
  else if (dialog.returnValue !== "use" || !text) return;
  else if (/[^!-~]/.test(text)) return openKey(`${NO_KEY}.`); // no header can have it
  else session.keep(text);
  location.reload(); // every view starts again with the other caller's jobs
}

who.addEventListener("click", () => openKey());
dialog.addEventListener("close", closeKey);
page.on("running", (n) => {
  document.title = n ? `(${n}) Framegate` : "Framegate";
});
// a dropped file would replace the page
const stay = (event) => event.dataTransfer.types.includes("Files") && event.preventDefault();
for (const type of ["dragover", "drop"]) document.addEventListener(type, stay);
addEventListener("unhandledrejection", (event) => {
  const { reason } = event;
  if (reason?.status === undefined) return;
  event.preventDefault();
  if (reason.status === 401) refuseKey(reason);
  else say(reason.message);
});
start();
