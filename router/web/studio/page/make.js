// The form: what a video is made of and will take, before it is sent.

import { isBreak, newKey, send, wait } from "./api.js";
import { button as newButton, fill, h, problem, say, soft } from "./dom.js";
import * as more from "./fields.js";
import { modality, money, number, seconds } from "./format.js";
import { imageField } from "./images.js";
import { accepts, describe, find, members, needs, takes, title } from "./models.js";
import { kept } from "./session.js";
import { mayMake } from "./videos.js";
import { mount as mountWatch } from "./watch.js";

const CALM_MS = 250; // without a change, before an estimate
const TWICE_MS = 400; // a double click makes one video
const PAUSES_MS = [1000, 2000, 4000];
const AWAY = [0, 502, 503, 504];
const DRAFT = ["sessionStorage", "framegate-draft"];
const PARAMS = { input_reference: "image", size: "width" };
const STATES = { loaded: "Loaded", warm: "Warm: in the host's memory", cold: "Not loaded yet" };

const entry = () => find(models, choice.control.value);
const candidates = () => members(models, entry());
const model = () => candidates().find((each) => accepts(each, roles())) ?? candidates()[0];
const roles = () => images.filter(({ blob, name }) => blob && isTaken(name)).map(({ name }) => name);
const typed = () => [...new FormData(form)].filter(([, value]) => value);
const draft = () => ({ ...Object.fromEntries(typed()), adapters: more.choice() });
const isTaken = (name) => candidates().some((model) => takes(model).includes(name));
const choice = more.field("model", "Model", h("select"));
const prompt = more.field("prompt", "Prompt", h("textarea", { rows: 4, placeholder: "A red circle moves to the right" }));
const images = [["image", "Image"], ["last_image", "Last image"]].map((words) => imageField(...words, () => model().limits, change));
const fields = [choice, prompt, ...images, ...more.fields];
const button = h("button", { class: "primary", "aria-describedby": "make-price" }, "Make video");
const [state, price] = [soft(), soft()];
const refused = problem();
const warnings = h("div", { class: "hint" });
const form = h(
  "form",
  { class: "card stack", novalidate: true, oninput: change, onsubmit: submit, onkeydown },
  [h("h1", { class: "visually-hidden" }, "Make a video"), choice.node, prompt.node],
  h("div", { class: "pairs" }, images.map(({ node }) => node)),
  [more.node, warnings, refused, h("div", { class: "send" }, button, state, price)],
);
let page, mayNot, models, titles, used, size, timer, isAsking, isStale, isTried, sentAt, refusedEdit;
let [edit, sending] = [0, 0]; // the number of changes, and of videos on their way

export async function mount(root, to) {
  page = to;
  price.id = "make-price";
  mayNot = !mayMake(page) && `this key may ${page.caller.key.scopes.join(", ")}, not generate`;
  const watched = h("section", { id: "watch", "aria-label": "Videos" });
  list(await page.models());
  load(JSON.parse(kept(...DRAFT) || "{}"), true);
  fill(root, h("div", { class: "make" }, form, watched));
  for (const type of ["dragover", "dragleave", "drop", "paste"]) {
    document.addEventListener(type, (event) => root.hidden || take(event));
  }
  page.on("finished", refresh);
  for (const type of ["focus", "visibilitychange"]) {
    addEventListener(type, () => root.hidden || document.hidden || refresh());
  }
  mountWatch(watched, page);
  return {
    async show(detail) {
      if (detail?.values) {
        await load(detail.values);
        say("The form has its values: Make video makes it");
      }
      if (matchMedia("(pointer: fine)").matches) prompt.control.focus();
      refresh();
    },
  };
}

async function refresh() {
  await page.models().then(list, (error) => isBreak(error) || Promise.reject(error)); // a break keeps the list
  render(used);
  await estimate();
}

function list(all) {
  models = all.toSorted((one, other) => other.default - one.default);
  const words = models.map((each) => title(models, each));
  if (String(words) === titles) return; // an open list stays open
  titles = String(words);
  const chosen = choice.control.value;
  const canRun = (each) => members(models, each).length;
  fill(choice.control, models.map((each, n) => h("option", { value: each.id, disabled: !canRun(each) }, words[n])));
  if (choose(chosen)) return;
  if (chosen) say(`${chosen} cannot run here now`);
  if (!choose(models.find(canRun)?.id)) throw new Error(`no model can run: ${words.join("; ")}`);
}

function choose(name) {
  const wanted = find(models, name);
  if (wanted && members(models, wanted).length) choice.control.value = wanted.id;
  return wanted?.id === choice.control.value;
}

function change() {
  edit += 1;
  sentAt = 0;
  for (const each of fields) each.wrong = "";
  render();
  kept(...DRAFT, JSON.stringify(draft()));
  clearTimeout(timer);
  timer = setTimeout(estimate, CALM_MS);
}

/** Show what runs; `now` are the server's values, if known. */
function render(now) {
  const runs = model();
  used = now;
  size = used ?? size; // of the crop, while an answer is awaited
  const route = entry().members && `${runs.id} will run: ${modality(runs.modality)}`;
  choice.hint.textContent = [route, STATES[runs.state]].filter(Boolean).join(". ");
  const { prompt: most, prompt_tokens: tokens } = runs.limits;
  const { length } = prompt.control.value;
  const counter = length > most * 0.8 && `${number(length)} of ${number(most)} characters`;
  const read = tokens && `The first ${tokens} tokens (about ${Math.floor(tokens * 0.07)}0 words) are read`;
  prompt.hint.textContent = counter || read || "";
  for (const image of images) {
    image.node.hidden = !isTaken(image.name) && !image.blob;
    image.show(size, isTaken(image.name) ? "" : `Not used: ${describe(runs)}`);
  }
  more.follow(runs, used, roles().includes("image"));
  button.disabled = mayNot;
  if (mayNot) fill(price, mayNot);
}

/** Return [field, words] of what the form lacks. */
function lacks() {
  const found = prompt.control.value.trim() ? [] : [["prompt", "a prompt is missing: every model here needs one"]];
  const all = candidates();
  if (all.some((each) => accepts(each, roles()))) return found;
  const role = all.flatMap(needs).find((each) => !roles().includes(each)) ?? "image";
  const one = role === "image" ? "an" : "a last";
  return [...found, [role, `${all.map(describe).join(", ")}: it needs ${one} image`]];
}

function refuse(found, withFocus) {
  const words = Object.fromEntries(found);
  for (const each of fields) each.refuse(words[each.name] ?? each.wrong);
  refused.textContent = words[""] ?? "";
  const first = fields.find(({ name }) => words[name]);
  if (more.node.contains(first?.node)) more.node.open = true;
  if (withFocus && first) (first.control.querySelector("input") ?? first.control).focus();
}

/** Return [field, words] of a server's refusal. */
function refusal({ param, message }) {
  const name = param.replace("provider_options.video.", "").replace(/[.[].*|_size$/, "");
  const found = fields.find((each) => each.name === (PARAMS[name] ?? name));
  return [found && !found.node.hidden ? found.name : "", message];
}

async function estimate() {
  isStale = isAsking;
  clearTimeout(timer);
  if (isAsking || refusedEdit === edit || mayNot) return;
  const [found, wrong] = [isTried ? lacks() : [], more.problems()];
  refuse([...found, ...wrong]);
  if (wrong.length) return fill(price);
  isAsking = true;
  const answer = await send("v1/videos/estimate", request(true)).catch((error) => ({ error }));
  isAsking = false;
  if (isStale) return estimate();
  const { error, warnings: told = [] } = answer;
  render(answer.provider_options?.video);
  if (!error && !more.isSized()) for (const each of images) if (each.blob) each.told ??= used;
  fill(warnings, told.filter((text) => !/^(last )?image /.test(text)).map((text) => h("p", null, text)));
  if (error?.status === 401) throw error;
  const isBusy = error?.status === 429;
  fill(price, error ? isBusy && error.message : cost(answer));
  if (isBusy || AWAY.includes(error?.status)) timer = setTimeout(estimate, error.retryAfter * 1000 || 4000);
  if (error && !isBusy) refuse([...found, refusal(error)]);
}

/** Return the form; an estimate has sizes of images, also of those to come. */
function request(isEstimate) {
  const data = new FormData();
  const adapters = more.choice();
  for (const [name, value] of typed()) data.set(name, value);
  more.complete(data);
  data.set("prompt", prompt.control.value.trim() || "a");
  if (adapters) data.set("adapters", JSON.stringify(adapters));
  if (isEstimate) data.set("model", model().id);
  for (const { name, blob, size: own, told } of images) {
    const isSent = roles().includes(name);
    const box = own ?? told ?? ((!blob || more.isSized()) && model().defaults);
    const isNeeded = isSent || needs(model()).includes(name);
    if (isEstimate && box && isNeeded) data.set(`${name}_size`, `${box.width}x${box.height}`);
    else if (isSent) data.set(name === "image" ? "input_reference" : name, blob);
  }
  return data;
}

async function submit(event) {
  event.preventDefault();
  if (mayNot || event.timeStamp - sentAt < TWICE_MS) return;
  const found = [...lacks(), ...more.problems()];
  isTried = found.length > 0;
  refuse(found, true);
  if (isTried) return;
  sentAt = event.timeStamp;
  const [image, last_image] = images.map(({ blob }) => blob);
  await queue(edit, request(), { ...draft(), image, last_image });
  estimate();
}

/** Queue a video; the form may change meanwhile. */
async function queue(now, data, values) {
  busy(1);
  try {
    page.emit("created", await post(data, { "idempotency-key": newKey() }));
    say(`Queued: ${values.prompt.slice(0, 80)}`);
  } catch (error) {
    if (error.status === 401) throw error;
    if (now !== edit) return lost(values, error);
    refusedEdit = now; // its words stay until the next change
    refuse([refusal(error)], true);
  } finally {
    busy(-1);
  }
}

/** Send a request, again where its answer was lost. */
async function post(data, headers) {
  for (const pause of [...PAUSES_MS, 0]) {
    try {
      return await send("v1/videos", data, headers);
    } catch (error) {
      if (!pause || !AWAY.includes(error.status) || error.code === "model_unavailable") throw error;
      state.textContent = `${error.message}; trying again`;
      await wait(pause);
    }
  }
}

function busy(more) {
  state.textContent = (sending += more) ? "Sending…" : "";
}

/** Show the refusal of what the form no longer has. */
function lost(values, { message }) {
  const line = problem(`"${values.prompt}" was refused: ${message} `, newButton("Edit it", () => {
    line.remove();
    load(values, true);
  }));
  refused.after(line);
}

/** Fill the form; an image alone leaves all else as it is. */
async function load({ image, last_image: lastImage, ...values }, isDraft) {
  const { model: name, prompt: words = "", ...rest } = values;
  if (isDraft || Object.keys(values).length) {
    if (name && !choose(name)) say(`${name} cannot run here now`);
    prompt.control.value = words;
    for (const each of images) Object.assign(each, { blob: null, size: null });
    const lost = more.load(model(), rest);
    if (lost.length) say(`${model().id} has no adapter ${lost.join(", ")}`);
    more.node.open = Object.values(rest).some((value) => value ?? false);
    change();
  }
  await images[0].take(image);
  await images[1].take(lastImage);
}

/** Take a dropped or pasted image. */
function take(event) {
  const { types, files } = event.dataTransfer ?? event.clipboardData;
  form.classList.toggle("over", event.type === "dragover" && types.includes("Files"));
  if (!files.length) return;
  event.preventDefault();
  const open = images.filter(({ name }) => isTaken(name));
  const target = open.find(({ node }) => node.contains(event.target)) ?? open.find(({ blob }) => !blob) ?? open[0];
  if (target) return target.take(files[0]);
  const others = models.filter((each) => takes(each).length).map(({ id }) => id).join(", ");
  const advice = others && `; ${others} would`;
  choice.refuse((choice.wrong = `${describe(model())}: it takes no image${advice}`));
}

function onkeydown(event) {
  if (event.key === "Enter" && !event.repeat && (event.ctrlKey || event.metaKey)) form.requestSubmit();
}

function cost({ expected_seconds: work, load_seconds: load, remaining_seconds: remaining, cost: sum, basis }) {
  if (work === null) return "Its time is known after a first video";
  const loading = load ? `, and ${seconds(load)} to load the model` : "";
  let then = remaining - work - load > 1 ? `; ready in about ${seconds(remaining)} (queue)` : "";
  if (remaining === null) then = "; no engine takes jobs now";
  const price = sum ? `; costs about ${money(sum)}` : "";
  return `${basis === "measured" ? "About" : "Roughly"} ${seconds(work)}${loading}${then}${price}`;
}
