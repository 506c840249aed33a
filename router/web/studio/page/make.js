// The form: what a video is made of and will take, before it is sent.

import { newKey, send } from "./api.js";
import { fill, h, say } from "./dom.js";
import { Field, Options } from "./fields.js";
import { modality, number, seconds } from "./format.js";
import { ImageField } from "./images.js";
import { Models, accepts, describe, needs, takes } from "./models.js";
import { mount as mountWatch } from "./watch.js";

const CALM_MS = 250; // without a change, before the server is asked
const PAUSES_MS = [1000, 2000, 4000];
const PARAMS = { input_reference: "image", image_size: "image", last_image_size: "last_image", size: "width" };
const STATES = { loaded: "loaded", warm: "warm: in the host's memory", cold: "cold: not loaded yet" };

class Form {
  constructor(page, list) {
    const about = { limits: () => this.model.limits, changed: () => this.change() };
    this.page = page;
    this.choice = new Field("model", "Model", h("select"));
    const example = "A red circle moves to the right";
    this.prompt = new Field("prompt", "Prompt", h("textarea", { rows: 4, placeholder: example }));
    this.images = [new ImageField("image", "Image", about), new ImageField("last_image", "Last image", about)];
    this.options = new Options();
    this.fields = [this.choice, this.prompt, ...this.images, ...this.options.texts, this.options.adapters];
    this.button = h("button", { class: "primary", "aria-describedby": "make-price" }, "Make video");
    this.price = h("p", { class: "soft", id: "make-price" });
    this.problem = h("p", { class: "problem", role: "alert" });
    this.warnings = h("div", { class: "hint" });
    this.node = h(
      "form",
      { class: "card stack", novalidate: true, oninput: about.changed },
      [h("h1", { class: "visually-hidden" }, "Make a video"), this.choice.node, this.prompt.node],
      h("div", { class: "pairs" }, this.images.map(({ node }) => node)),
      [this.options.node, this.warnings, this.problem, h("div", { class: "send" }, this.button, this.price)],
    );
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    const scopes = page.caller?.key?.scopes ?? ["generate"];
    const isAllowed = scopes.some((scope) => /generate|admin/.test(scope));
    this.mayNot = isAllowed ? "" : `this key may ${scopes.join(", ")}, not generate`;
    this.list(list);
    this.load(JSON.parse(draft() ?? "{}"), true);
  }

  /** Take up the models of the server as they are now. */
  list(list) {
    const chosen = this.choice.text;
    this.models = new Models(list);
    const { list: entries } = this.models;
    const titles = entries.map((each) => this.models.title(each));
    if (String(titles) === this.titles) return; // an open list stays open
    this.titles = String(titles);
    const option = (each, n) => h("option", { value: each.id, disabled: !this.runs(each).length }, titles[n]);
    fill(this.choice.control, entries.map(option));
    const first = entries.find((each) => this.runs(each).length);
    if (!first) throw new Error(`no model can run here now (${titles.join("; ")})`);
    if (!this.choose(chosen)) this.choose(first.id);
  }

  /** Choose a model by name, if it can run. */
  choose(name) {
    const entry = this.models.find(name);
    if (!entry || !this.runs(entry).length) return false;
    this.choice.control.value = entry.id;
    return true;
  }

  runs(entry = this.entry) {
    return this.models.members(entry);
  }

  get entry() {
    return this.models.find(this.choice.text);
  }

  /** The roles of the images that would be sent. */
  get roles() {
    return this.images.filter(({ blob, name }) => blob && this.takes(name)).map(({ name }) => name);
  }

  /** The model that would run. */
  get model() {
    const models = this.runs();
    return models.find((model) => accepts(model, this.roles)) ?? models[0];
  }

  takes(name) {
    return this.runs().some((model) => takes(model).includes(name));
  }

  change() {
    this.isRefused = false;
    this.render();
    const typed = this.fields.filter(({ control }) => control.value).map(({ name, control }) => [name, control.value]);
    draft(JSON.stringify({ ...Object.fromEntries(typed), adapters: this.options.choices[this.model.id] }));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.estimate(), CALM_MS);
  }

  render(used) {
    const { entry, model, prompt, roles } = this;
    this.used = used;
    this.size = used ?? this.size; // of the crop, also while the next answer is awaited
    const runs = entry.members && `${model.id} will run: ${modality(model.modality)}`;
    const adapters = model.adapters.length && `adapters ${model.adapters.map(({ name }) => name).join(", ")}`;
    this.choice.hint.textContent = [runs, STATES[model.state], adapters].filter(Boolean).join(" · ");
    const { prompt: most, prompt_tokens: tokens } = model.limits;
    const { length } = prompt.control.value;
    const counter = length > most * 0.8 && `${number(length)} of ${number(most)} characters`;
    prompt.hint.textContent = counter || (tokens ? `the first ${tokens} tokens are read` : "");
    for (const image of this.images) {
      const isTaken = this.takes(image.name);
      image.node.hidden = !isTaken && !image.blob;
      image.show(this.size, isTaken ? "" : `not used: ${describe(model)}`);
    }
    this.options.follow(model, used, roles.includes("image"));
    this.button.disabled = this.mayNot || this.isSending;
    if (this.mayNot) fill(this.price, this.mayNot);
  }

  /** Return [field, words] of what would be refused; a whole form also lacks nothing. */
  check(isWhole) {
    const found = this.options.problems();
    for (const { name, control, label } of [this.prompt, this.options.negative]) {
      const [length, most] = [control.value.length, this.model.limits.prompt];
      const words = `${label} may have up to ${number(most)} characters, got ${number(length)}`;
      if (length > most) found.push([name, words]);
    }
    if (!isWhole) return found;
    if (!this.prompt.text) found.push(["prompt", "a prompt is missing: every model here needs one"]);
    const mismatch = this.models.mismatch(this.entry, this.roles);
    return mismatch ? [...found, mismatch] : found;
  }

  /** Show problems beside their fields. */
  refuse(found, withFocus) {
    const words = Object.fromEntries(found);
    const { options } = this;
    for (const field of this.fields) field.refuse(words[field.name]);
    this.problem.textContent = words[""] ?? "";
    const first = this.fields.find(({ name }) => words[name]);
    if (options.node.contains(first?.node)) options.node.open = true;
    if (withFocus && first) (first.control.querySelector("input") ?? first.control).focus();
  }

  /** Return [field, words] of a server's refusal. */
  refusal({ param, message }) {
    const name = param.replace("provider_options.video.", "").replace(/[.[].*/, "");
    const field = this.fields.find((each) => each.name === (PARAMS[name] ?? name));
    return [field && !field.node.hidden ? field.name : "", message];
  }

  /** Ask what the video would be and take. */
  async estimate() {
    this.isStale = this.isAsking;
    if (this.isAsking || this.isRefused || this.isSending || this.mayNot) return;
    const found = this.check(this.isTried);
    this.refuse(found);
    if (this.check().length) return fill(this.price);
    this.isAsking = true;
    const answer = await send("v1/videos/estimate", this.body(true)).catch((error) => ({ error }));
    this.isAsking = false;
    if (this.isStale) return this.estimate();
    const { error, warnings = [], provider_options: used } = answer;
    this.render(used?.video);
    fill(this.warnings, warnings.filter((text) => !/^(last )?image /.test(text)).map((text) => h("p", null, text)));
    fill(this.price, error ? null : cost(answer));
    if (error?.status === 401) throw error;
    if (error) this.refuse([...found, this.refusal(error)]);
    if (error?.status === 0) this.timer = setTimeout(() => this.estimate(), PAUSES_MS[2]);
  }

  /** Return the request; an estimate has sizes in place of images, also of those that are still to come. */
  body(isEstimate) {
    const { model, roles } = this;
    const form = new FormData();
    form.set("model", isEstimate ? model.id : this.entry.id);
    form.set("prompt", this.prompt.text || "a");
    for (const [name, value] of this.options.entries()) form.set(name, value);
    for (const { name, blob, size } of this.images) {
      const { width, height } = size ?? model.defaults;
      if (isEstimate && [...roles, ...needs(model)].includes(name)) form.set(`${name}_size`, `${width}x${height}`);
      else if (roles.includes(name)) form.set(name === "image" ? "input_reference" : name, blob);
    }
    return form;
  }

  async send() {
    if (this.button.disabled) return;
    this.isTried = true;
    const found = this.check(true);
    this.refuse(found, true);
    if (found.length) return;
    const hadFocus = document.activeElement === this.button;
    this.busy(true);
    try {
      this.page.emit("created", await this.post(this.body(), { "idempotency-key": newKey() }));
      this.isTried = false;
      say("Queued");
    } catch (error) {
      if (error.status === 401) throw error;
      this.isRefused = true; // its words stay until the next change
      this.refuse([this.refusal(error)], true);
    } finally {
      this.busy(false);
      if (hadFocus && document.activeElement === document.body) this.button.focus();
    }
    this.estimate();
  }

  /** Send a request, again with the same key where no answer says that it was queued. */
  async post(form, headers) {
    for (const pause of [...PAUSES_MS, 0]) {
      try {
        return await send("v1/videos", form, headers);
      } catch (error) {
        if (!pause || ![0, 502, 503, 504].includes(error.status) || error.code === "model_unavailable") throw error;
        fill(this.price, `${error.message}; trying again`);
        await new Promise((later) => setTimeout(later, pause));
      }
    }
  }

  busy(isSending) {
    this.isSending = this.button.disabled = isSending;
    this.button.textContent = isSending ? "Sending…" : "Make video";
  }

  /** Fill the form from a draft or from the values of a video; an image alone leaves all else as it is. */
  async load({ image, last_image: lastImage, ...values }, isDraft) {
    const { model, prompt, ...options } = values;
    if (isDraft || Object.keys(values).length) {
      if (model && !this.choose(model)) say(`${model} cannot run here now`);
      this.prompt.control.value = prompt ?? "";
      for (const field of this.images) field.clear();
      const lost = this.options.load(this.model, options);
      if (lost.length) say(`${this.model.id} has no adapter ${lost.join(", ")}`);
      this.options.node.open = Object.values(options).some((value) => value ?? false);
      this.change();
    }
    await this.images[0].take(image);
    await this.images[1].take(lastImage);
  }

  /** Take a dropped or pasted image into a field. */
  take([file], field) {
    const open = this.images.filter(({ name }) => this.takes(name));
    const free = open.includes(field) ? field : (open.find(({ blob }) => !blob) ?? open[0]);
    if (free) return free.take(file);
    const others = this.models.list.filter((each) => takes(each).length).map(({ id }) => id);
    const words = `${describe(this.model)}: it takes no image`;
    return this.refuse([["model", others.length ? `${words}; ${others.join(", ")} would` : words]]);
  }
}

/** Lay out the form beside the videos that it made. */
export async function mount(root, page) {
  const form = new Form(page, await page.models());
  const side = h("section", { id: "watch", "aria-label": "Your videos" });
  fill(root, h("div", { class: "make" }, form.node, side));
  listen(root, form);
  const watch = await mountWatch(side, page);
  const refresh = async () => {
    form.list(await page.models());
    form.render(form.used);
    await form.estimate();
  };
  page.on("finished", refresh);
  return {
    hide: () => watch?.hide?.(),
    show(detail) {
      watch?.show?.(detail);
      if (detail?.values) form.load(detail.values);
      if (matchMedia("(pointer: fine)").matches) form.prompt.control.focus();
      refresh();
    },
  };
}

/** Let images be dropped and pasted, and Ctrl+Enter send. */
function listen(root, form) {
  const field = (node) => form.images.find((each) => each.node.contains(node));
  for (const type of ["dragover", "dragleave", "drop"]) {
    root.addEventListener(type, (event) => {
      const { types, files } = event.dataTransfer;
      if (!types.includes("Files")) return;
      event.preventDefault(); // else the browser opens the file in place of the page
      form.node.classList.toggle("over", type === "dragover");
      if (files.length) form.take(files, field(event.target));
    });
  }
  document.addEventListener("paste", (event) => {
    const { files } = event.clipboardData;
    if (root.hidden || !files.length) return;
    event.preventDefault();
    form.take(files, field(document.activeElement));
  });
  form.node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.node.requestSubmit();
  });
}

function cost({ expected_seconds: work, load_seconds: load, remaining_seconds: remaining, cost: price, basis }) {
  if (work === null) return "not measured yet";
  const parts = [`${basis === "measured" ? "about" : "roughly"} ${seconds(work)}`];
  if (load) parts.push(`and ${seconds(load)} to load the model`);
  const queue = remaining - work - load > 1 ? `; ready in about ${seconds(remaining)} (queue)` : "";
  return parts.join(", ") + queue + (price ? `; costs about ${number(price)}` : "");
}

/** Keep a draft, or return the one that was kept. */
function draft(text) {
  try {
    return text ? sessionStorage.setItem("framegate-draft", text) : sessionStorage.getItem("framegate-draft");
  } catch {
    return null; // a browser that stores nothing
  }
}
