// The options of a video: a model's defaults, limits and checks beside each field.

import { fill, h } from "./dom.js";
import { number } from "./format.js";
import { isHere } from "./models.js";

const side = ({ limits, size_multiple: step }) => [step, Math.floor(limits.pixels / step), step];
const guidance = () => [0, 20, "any"];
const NUMBERS = {
  width: ["Width", side],
  height: ["Height", side],
  num_frames: ["Frames", ({ limits }) => [1, limits.frames, 4]],
  frames_per_second: ["Frames per second", () => [1, 60, 1]],
  steps: ["Steps", ({ limits }) => [1, limits.steps, 1]],
  guidance_scale: ["Guidance", guidance],
  guidance_scale_2: ["Second guidance", guidance],
  flow_shift: ["Flow shift", () => [0.01, 100, "any"]],
  seed: ["Seed", () => [0, Number.MAX_SAFE_INTEGER, 1]],
};

/** A labelled control with a hint and a line for its problem. */
export class Field {
  constructor(name, label, control) {
    const id = (control.id = `make-${name}`);
    Object.assign(this, { name, label, control });
    this.hint = h("p", { class: "hint", id: `${id}-hint` });
    this.problem = h("p", { class: "problem", id: `${id}-problem`, role: "alert" });
    control.setAttribute("aria-describedby", `${id}-hint ${id}-problem`);
    const title = control.tagName !== "FIELDSET" && h("label", { for: id }, label);
    this.node = h("div", { class: "field" }, title, control, this.hint, this.problem);
  }

  get text() {
    return this.control.value?.trim() ?? "";
  }

  /** Show why the field is refused; no words clear it. */
  refuse(words = "") {
    if (this.problem.textContent !== words) this.problem.textContent = words;
    this.control.ariaInvalid = words ? "true" : null;
  }
}

/** The fields that most videos leave to the model. */
export class Options {
  constructor() {
    this.choices = {}; // of adapters, by model
    this.negative = new Field("negative_prompt", "Negative prompt", h("textarea", { rows: 2 }));
    this.numbers = Object.entries(NUMBERS).map(([name, [label]]) => {
      return new Field(name, label, h("input", { type: "number" }));
    });
    this.list = h("div");
    this.adapters = new Field("adapters", "Adapters", h("fieldset", null, h("legend", null, "Adapters"), this.list));
    this.texts = [this.negative, ...this.numbers];
    this.summary = h("span", { class: "soft" });
    const numbers = h("div", { class: "pairs" }, this.numbers.map(({ node }) => node));
    const all = h("div", { class: "stack" }, this.negative.node, numbers, this.adapters.node);
    this.node = h("details", null, h("summary", null, h("b", null, "Options"), this.summary), all);
  }

  /** Show a model's defaults and limits, and what the server would use as far as that is known. */
  follow(model, used, withImage) {
    const isOther = this.model?.id !== model.id;
    this.model = model;
    if (isOther) this.listAdapters();
    const values = this.numbers.map(({ name, text, control, node }) => {
      const [min, max, step] = NUMBERS[name][1](model);
      Object.assign(control, { min, max, step });
      if (isOther || (used && !text)) control.placeholder = used?.[name] ?? this.standard(name);
      node.hidden = name === "guidance_scale_2" && model.experts < 2;
      return used?.[name] ?? Number(text || control.placeholder);
    });
    const [width, height, frames, rate, steps] = values;
    const made = frames > 1 ? Math.max(frames - (frames % 4) + 1, 5) : 1;
    const time = made > 1 ? `${number(Math.round((made / rate) * 10) / 10)} s` : "an image";
    const seed = this.numbers.at(-1).text;
    const more = [...this.chosen.map(({ name }) => name), ...(seed ? [`seed ${seed}`] : [])];
    const length = made > 1 ? `${made} frames (${time})` : time;
    this.summary.textContent = [`${width} x ${height}`, length, `${steps} steps`, ...more].join(", ");
    for (const { name, text, hint, control } of this.numbers) {
      const { min, max, step } = control;
      const size = !text && withImage ? "as the image" : `multiples of ${step}`;
      const words = { width: size, height: size, num_frames: `${time}; up to ${max}`, seed: "repeats a video" };
      const isAdjusted = text && used && Number(text) !== used[name];
      hint.textContent = isAdjusted ? `${used[name]} will be used` : (words[name] ?? `${min} to ${max}`);
    }
    const negative = (this.negative.control.placeholder = model.defaults.negative_prompt);
    this.negative.hint.textContent = `what to keep out${negative && "; a space for nothing"}`;
  }

  /** Return [field, words] of each value that would be refused. */
  problems() {
    const found = [];
    for (const { name, label, control, node, text } of this.numbers) {
      const { badInput, rangeUnderflow, rangeOverflow } = control.validity;
      const kind = control.step === "any" ? "a number" : "an integer";
      const isWrong = badInput || rangeUnderflow || rangeOverflow || (kind === "an integer" && text % 1);
      const words = `${label} must be ${kind} from ${control.min} to ${control.max}, got ${text || "no number"}`;
      if (isWrong && !node.hidden) found.push([name, words]);
    }
    const { id, limits, size_multiple: step } = this.model;
    const [width, height] = this.numbers.map(({ text }) => text);
    if (!width !== !height) found.push([width ? "height" : "width", "width and height: give both or neither"]);
    else if (!found.length && (width - (width % step)) * (height - (height % step)) > limits.pixels) {
      found.push(["width", `${id} takes at most ${number(limits.pixels)} pixels a frame, got ${width} x ${height}`]);
    }
    const wrong = this.rows.find(({ box, strength }) => box.checked && !strength.validity.valid);
    if (wrong) found.push(["adapters", `the strength of ${wrong.name} must be a number from -10 to 10`]);
    return found;
  }

  /** Return the fields of a request that are not left to the model. */
  entries() {
    const typed = this.texts.filter(({ control, node }) => control.value && !node.hidden);
    const choice = this.choices[this.model.id];
    return [...typed.map(({ name, text }) => [name, text]), ...(choice ? [["adapters", JSON.stringify(choice)]] : [])];
  }

  /** Fill the fields; return the names of adapters that the model lacks. */
  load(model, { adapters, ...values }) {
    for (const { name, control } of this.texts) control.value = values[name] ?? "";
    if (values.negative_prompt === "" && model.defaults.negative_prompt) this.negative.control.value = " ";
    const isKnown = ({ name }) => model.adapters.some((each) => each.name === name);
    this.choices[model.id] = adapters?.filter(isKnown);
    this.model = null; // lists the adapters again
    return (adapters ?? []).filter((each) => !isKnown(each)).map(({ name }) => name);
  }

  listAdapters() {
    const oninput = () => this.chooseAdapters();
    this.rows = this.model.adapters.map((adapter) => {
      const { name, merged } = adapter;
      const [id, choice] = [`make-adapter-${name}`, this.chosen.find((each) => each.name === name)];
      const why = merged ? "part of the weights" : isHere(adapter, this.model) ? "" : `its file is ${adapter.weights}`;
      const box = h("input", { type: "checkbox", id, disabled: why, checked: merged || choice, oninput });
      const bounds = { type: "number", step: "any", min: -10, max: 10 };
      const strength = h("input", { ...bounds, "aria-label": `Strength of ${name}`, oninput });
      const { high, low } = choice?.strength ?? adapter.strength;
      strength.placeholder = high === undefined ? adapter.strength : `${high} / ${low}`;
      strength.value = high === undefined ? (choice?.strength ?? "") : "";
      const line = h("label", { class: "hint", hidden: why || !choice }, "strength", strength);
      const node = h("div", { class: "actions" }, box, h("label", { for: id }, name), line, why && h("p", { class: "hint" }, why));
      return { name, merged, box, strength, line, kept: strength.value ? undefined : choice?.strength, node };
    });
    fill(this.list, this.rows.map(({ node }) => node));
    this.adapters.node.hidden = !this.rows.length;
  }

  chooseAdapters() {
    for (const { box, line } of this.rows) line.hidden = box.disabled || !box.checked;
    const chosen = this.rows.filter(({ box, merged }) => box.checked && !merged);
    const of = ({ name, strength, kept }) => ({ name, strength: strength.value ? Number(strength.value) : kept });
    this.choices[this.model.id] = chosen.map(of);
  }

  get chosen() {
    const usual = this.model.adapters.filter((adapter) => adapter.default && !adapter.merged);
    return this.choices[this.model.id] ?? usual.map(({ name }) => ({ name }));
  }

  standard(name) {
    if (name === "seed") return "drawn";
    const { defaults } = this.model;
    const value = defaults[name] ?? defaults.guidance_scale; // which the second one follows
    return value.small ?? value;
  }
}
