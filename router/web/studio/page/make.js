// The form: what a video is made of and will take, before it is sent.

import { newKey, send, wait } from "./api.js";
import { fill, h, problem, say } from "./dom.js";
import * as more from "./fields.js";
import { modality, number, seconds } from "./format.js";
import { imageField } from "./images.js";
import { accepts, describe, find, members, needs, takes, title } from "./models.js";
import { kept } from "./session.js";
import { mount as mountWatch } from "./watch.js";

const CALM_MS = 250; // without a change, before the server is asked
const PAUSES_MS = [1000, 2000, 4000];
const DRAFT = ["sessionStorage", "framegate-draft"];
const PARAMS = { input_reference: "image", image_size: "image", last_image_size: "last_image", size: "width" };
const STATES = { loaded: "loaded", warm: "warm: in the host's memory", cold: "cold: not loaded yet" };

const entry = () => find(models, choice.control.value);
const candidates = () => members(models, entry());
const isTaken = (name) => candidates().some((model) => takes(model).includes(name));
const limits = () => model().limits;
const choice = more.field("model", "Model", h("select"));
const prompt = more.field("prompt", "Prompt", h("textarea", { rows: 4, placeholder: "A red circle moves to the right" }));
const images = [["image", "Image"], ["last_image", "Last image"]].map((words) => imageField(...words, limits, change));
const fields = [choice, prompt, ...images, ...more.fields];
const button = h("button", { class: "primary", "aria-describedby": "make-price" }, "Make video");
const price = h("p", { class: "soft", id: "make-price" });
const refused = problem();
const warnings = h("div", { class: "hint" });
const form = h(
  "form",
  { class: "card stack", novalidate: true, oninput: change, onsubmit: submit, onkeydown },
  [h("h1", { class: "visually-hidden" }, "Make a video"), choice.node, prompt.node],
  h("div", { class: "pairs" }, images.map(({ node }) => node)),
  [more.node, warnings, refused, h("div", { class: "send" }, button, price)],
);
let page, mayNot, models, titles, used, size, timer, isAsking, isStale, isRefused, isSending, isTried;

/** Lay out the form beside the videos that it made. */
export async function mount(root, to) {
  page = to;
  const scopes = page.caller?.key?.scopes ?? ["generate"];
  mayNot = !/generate|admin/.test(scopes) && `this key may ${scopes.join(", ")}, not generate`;
  const watched = h("section", { id: "watch", "aria-label": "Videos" });
  list(await page.models());
  load(JSON.parse(kept(...DRAFT) || "{}"), true);
  fill(root, h("div", { class: "make" }, form, watched));
  for (const type of ["dragover", "dragleave", "drop"]) root.addEventListener(type, drag);
  document.addEventListener("paste", (event) => root.hidden || paste(event));
  page.on("finished", refresh);
  mountWatch(watched, page);
  return {
    show(detail) {
      if (detail?.values) load(detail.values);
      if (matchMedia("(pointer: fine)").matches) prompt.control.focus();
      refresh();
    },
  };
}

async function refresh() {
  list(await page.models());
  render(used);
  await estimate();
}

/** Take up the models of the server as they are now. */
function list(all) {
  models = all.toSorted((one, other) => other.default - one.default);
  const words = models.map((each) => title(models, each));
  if (String(words) === titles) return; // an open list stays open
  titles = String(words);
  const chosen = choice.control.value;
  const canRun = (each) => members(models, each).length;
  fill(choice.control, models.map((each, n) => h("option", { value: each.id, disabled: !canRun(each) }, words[n])));
  if (!choose(chosen) && !choose(models.find(canRun)?.id)) throw new Error(`no model can run: ${words.join("; ")}`);
}

/** Choose a model by name, if it can run. */
function choose(name) {
  const wanted = find(models, name);
  if (wanted && members(models, wanted).length) choice.control.value = wanted.id;
  return wanted?.id === choice.control.value;
}

/** Return the model that would run. */
function model() {
  return candidates().find((each) => accepts(each, roles())) ?? candidates()[0];
}

/** Return the roles of the images that would be sent. */
function roles() {
  return images.filter(({ blob, name }) => blob && isTaken(name)).map(({ name }) => name);
}

function typed() {
  return [...new FormData(form)].filter(([, value]) => value);
}

function change() {
  isRefused = false;
  for (const each of fields) each.wrong = "";
  render();
  kept(...DRAFT, JSON.stringify({ ...Object.fromEntries(typed()), adapters: more.choice() }));
  clearTimeout(timer);
  timer = setTimeout(estimate, CALM_MS);
}

/** Show what runs; `now` are the values that the server would use, if known. */
function render(now) {
  const runs = model();
  used = now;
  size = used ?? size; // of the crop, also while an answer is awaited
  const route = entry().members && `${runs.id} will run: ${modality(runs.modality)}`;
  const adapters = runs.adapters.length && `adapters ${runs.adapters.map(({ name }) => name).join(", ")}`;
  choice.hint.textContent = [route, STATES[runs.state], adapters].filter(Boolean).join(" · ");
  const { prompt: most, prompt_tokens: tokens } = runs.limits;
  const { length } = prompt.control.value;
  const counter = length > most * 0.8 && `${number(length)} of ${number(most)} characters`;
  prompt.hint.textContent = counter || (tokens ? `the first ${tokens} tokens are read` : "");
  for (const image of images) {
    image.node.hidden = !isTaken(image.name) && !image.blob;
    image.show(size, isTaken(image.name) ? "" : `not used: ${describe(runs)}`);
  }
  more.follow(runs, used, roles().includes("image"));
  button.disabled = mayNot || isSending;
  if (mayNot) fill(price, mayNot);
}

/** Return [field, words] of what the form lacks. */
function lacks() {
  const found = prompt.control.value.trim() ? [] : [["prompt", "a prompt is missing: every model here needs one"]];
  const all = candidates();
  if (all.some((each) => accepts(each, roles()))) return found;
  const role = all.flatMap(needs).find((each) => !roles().includes(each)) ?? "image";
  const rule = `it needs ${role === "image" ? "an image" : "a last image"}`;
  return [...found, [role, `${all.map(describe).join(", ")}: ${rule}`]];
}

/** Show problems beside their fields. */
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
  const name = param.replace("provider_options.video.", "").replace(/[.[].*/, "");
  const found = fields.find((each) => each.name === (PARAMS[name] ?? name));
  return [found && !found.node.hidden ? found.name : "", message];
}

/** Ask what the video would be and take. */
async function estimate() {
  isStale = isAsking;
  if (isAsking || isRefused || isSending || mayNot) return;
  const [found, wrong] = [isTried ? lacks() : [], more.problems()];
  refuse([...found, ...wrong]);
  if (wrong.length) return fill(price);
  isAsking = true;
  const answer = await send("v1/videos/estimate", request(true)).catch((error) => ({ error }));
  isAsking = false;
  if (isStale) return estimate();
  const { error } = answer;
  render(answer.provider_options?.video);
  const others = (answer.warnings ?? []).filter((text) => !/^(last )?image /.test(text));
  fill(warnings, others.map((text) => h("p", null, text)));
  fill(price, error ? null : cost(answer));
  if (error?.status === 401) throw error;
  if (error) refuse([...found, refusal(error)]);
  if (error?.status === 0) timer = setTimeout(estimate, PAUSES_MS[2]);
}

/** Return the form; an estimate has sizes in place of images, also of those that are still to come. */
function request(isEstimate) {
  const data = new FormData();
  const adapters = more.choice();
  for (const [name, value] of typed()) data.set(name, value);
  data.set("prompt", prompt.control.value.trim() || "a");
  if (adapters) data.set("adapters", JSON.stringify(adapters));
  if (isEstimate) data.set("model", model().id);
  for (const { name, blob, size: own } of images) {
    const { width, height } = own ?? model().defaults;
    const isSent = roles().includes(name);
    if (isEstimate && (isSent || needs(model()).includes(name))) data.set(`${name}_size`, `${width}x${height}`);
    else if (isSent) data.set(name === "image" ? "input_reference" : name, blob);
  }
  return data;
}

async function submit(event) {
  event.preventDefault();
  if (button.disabled) return;
  isTried = true;
  const found = [...lacks(), ...more.problems()];
  refuse(found, true);
  if (found.length) return;
  busy(true);
  try {
    page.emit("created", await post(request(), { "idempotency-key": newKey() }));
    isTried = false;
    say("Queued");
  } catch (error) {
    if (error.status === 401) throw error;
    isRefused = true; // its words stay until the next change
    refuse([refusal(error)], true);
  } finally {
    busy(false);
  }
  estimate();
}

/** Send a request, again with the same key where no answer says that it was queued. */
async function post(data, headers) {
  for (const pause of [...PAUSES_MS, 0]) {
    try {
      return await send("v1/videos", data, headers);
    } catch (error) {
      if (!pause || ![0, 502, 503, 504].includes(error.status) || error.code === "model_unavailable") throw error;
      fill(price, `${error.message}; trying again`);
      await wait(pause);
    }
  }
}

function busy(now) {
  isSending = button.disabled = now;
  button.textContent = now ? "Sending…" : "Make video";
  if (document.activeElement === document.body) button.focus(); // which a disabled button loses
}

/** Fill the form from a draft or from the values of a video; an image alone leaves all else as it is. */
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

/** Take a dropped or pasted image, into the field of a node if there is one. */
function take([file], node) {
  const open = images.filter(({ name }) => isTaken(name));
  const target = open.find((each) => each.node.contains(node)) ?? open.find(({ blob }) => !blob) ?? open[0];
  if (target) return void target.take(file);
  const others = models.filter((each) => takes(each).length).map(({ id }) => id);
  const advice = others.length ? `; ${others.join(", ")} would` : "";
  choice.refuse((choice.wrong = `${describe(model())}: it takes no image${advice}`)); // until the next change
}

function drag(event) {
  const { types, files } = event.dataTransfer;
  if (!types.includes("Files")) return;
  event.preventDefault(); // else the browser opens the file in place of the page
  form.classList.toggle("over", event.type === "dragover");
  if (files.length) take(files, event.target);
}

function paste(event) {
  const { files } = event.clipboardData;
  if (!files.length) return;
  event.preventDefault();
  take(files, document.activeElement);
}

function onkeydown(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
}

function cost({ expected_seconds: work, load_seconds: load, remaining_seconds: remaining, cost: price, basis }) {
  if (work === null) return "not measured yet";
  const loading = load ? `, and ${seconds(load)} to load the model` : "";
  const queue = remaining - work - load > 1 ? `; ready in about ${seconds(remaining)} (queue)` : "";
  const money = price ? `; costs about ${number(price)}` : "";
  return `${basis === "measured" ? "about" : "roughly"} ${seconds(work)}${loading}${queue}${money}`;
}
