// The options of a video: a model's defaults, limits and checks beside each field.

import { fill, h, problem } from "./dom.js";
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
  seed: ["Seed", () => [0, "9223372036854775807", 1]],
};

export function field(name, label, control) {
  const id = `make-${name}`;
  Object.assign(control, { id, name });
  control.setAttribute("aria-describedby", `${id}-hint ${id}-problem`);
  const hint = h("p", { class: "hint", id: `${id}-hint` });
  const line = problem();
  line.id = `${id}-problem`;
  const title = control.tagName !== "FIELDSET" && h("label", { for: id }, label);
  const refuse = (words = "") => {
    if (line.textContent !== words) line.textContent = words;
    control.ariaInvalid = words ? "true" : null;
  };
  return { name, label, control, hint, refuse, node: h("div", { class: "field" }, title, control, hint, line) };
}

const choices = {}; // of adapters, by model
const negative = field("negative_prompt", "Negative prompt", h("textarea", { rows: 2 }));
const numbers = Object.entries(NUMBERS).map(([name, [label]]) => field(name, label, h("input", { type: "number" })));
const list = h("div");
const adapters = field("adapters", "Adapters", h("fieldset", null, h("legend", null, "Adapters"), list));
const texts = [negative, ...numbers];
const summary = h("span", { class: "soft" });
const pairs = h("div", { class: "pairs" }, numbers.map(({ node }) => node));
export const node = h("details", null,
  h("summary", null, h("b", null, "Options"), summary),
  h("div", { class: "stack" }, negative.node, pairs, adapters.node));
export const fields = [...texts, adapters];
let model = null;
let rows = [];

export const choice = () => choices[model.id]?.filter(({ name }) => model.adapters.some((each) => each.name === name));

const sides = numbers.slice(0, 2);
export const isSized = () => sides.some(({ control }) => control.value);

/** Add the side that is shown to a form with one of width and height. */
export function complete(form) {
  if (isSized()) for (const { name, control } of sides) form.set(name, control.value || control.placeholder);
}

const shape = ({ id, defaults, adapters }) => JSON.stringify([id, defaults, adapters]);

/** Show a model's defaults and limits, and what the server would use, if known. */
export function follow(next, used, withImage) {
  const isOther = !model || shape(model) !== shape(next);
  model = next;
  if (isOther) listAdapters();
  const [width, height, frames, rate, steps] = numbers.map(({ name, control, node: box }) => {
    const [min, max, step] = NUMBERS[name][1](model);
    Object.assign(control, { min, max, step });
    if (isOther || (used && !control.value)) control.placeholder = used?.[name] ?? standard(name);
    box.hidden = control.disabled = name === "guidance_scale_2" && model.experts < 2;
    return used?.[name] ?? Number(control.value || control.placeholder);
  });
  const made = frames > 1 ? Math.max(frames - (frames % 4) + 1, 5) : 1;
  const time = made > 1 ? `${number(Math.round((made / rate) * 10) / 10)} s` : "an image";
  const length = made > 1 ? `${made} frames (${time})` : time;
  const seed = numbers.at(-1).control.value;
  const names = chosen().map(({ name }) => name);
  const parts = [`${width} x ${height}`, length, `${steps} steps`, ...names, seed && `seed ${seed}`];
  summary.textContent = parts.filter(Boolean).join(", ");
  for (const { name, hint, control } of numbers) {
    const { value, min, max, step } = control;
    const size = !isSized() && withImage ? "As the image" : `Multiples of ${step}`;
    const seed = "The same seed makes the same video";
    const words = { width: size, height: size, num_frames: `${time}; up to ${max}`, seed };
    const isAdjusted = value && used && Number(value) !== used[name];
    hint.textContent = isAdjusted ? `${used[name]} will be used` : (words[name] ?? `${min} to ${max}`);
  }
  const usual = (negative.control.placeholder = model.defaults.negative_prompt);
  negative.hint.textContent = `What to keep out${usual && "; a space for nothing"}`;
}

/** Return [field, words] of each value that would be refused. */
export function problems() {
  const found = [];
  for (const { name, label, control } of numbers) {
    const { min, max, step, value, validity } = control;
    const isWrong = validity.badInput || validity.rangeUnderflow || validity.rangeOverflow;
    const kind = step === "any" ? "a number" : "an integer";
    const words = `${label} must be ${kind} from ${min} to ${max}, got ${value || "no number"}`;
    if (isWrong || (step !== "any" && value % 1)) found.push([name, words]);
  }
  const [width, height] = sides.map(({ control: { value, placeholder } }) => {
    const side = value || placeholder;
    return side - (side % model.size_multiple);
  });
  const most = model.limits.pixels;
  const words = `${model.id} takes at most ${number(most)} pixels a frame, got ${width} x ${height}`;
  return width * height > most ? [["width", words], ...found] : found;
}

/** Fill the fields; return the names of adapters that the model lacks. */
export function load(next, values) {
  for (const { name, control } of texts) control.value = values[name] ?? "";
  if (values.negative_prompt === "" && next.defaults.negative_prompt) negative.control.value = " ";
  choices[next.id] = values.adapters;
  model = null; // lists the adapters again
  const names = next.adapters.map(({ name }) => name);
  return (values.adapters ?? []).map(({ name }) => name).filter((name) => !names.includes(name));
}

function listAdapters() {
  rows = model.adapters.map((adapter) => {
    const { name, merged } = adapter;
    const [id, used] = [`make-adapter-${name}`, chosen().find((each) => each.name === name)];
    const why = merged ? "Part of the weights" : isHere(adapter, model) ? "" : `Its file is ${adapter.weights}`;
    const box = h("input", { type: "checkbox", id, disabled: why, checked: merged || used, oninput: chooseAdapters });
    const { high, low } = used?.strength ?? adapter.strength;
    const kept = high === undefined ? undefined : used?.strength; // one for each expert
    const strength = h("input", {
      ...{ type: "number", step: "any", min: -10, max: 10, "aria-label": `Strength of ${name}` },
      placeholder: high === undefined ? adapter.strength : `${high} / ${low}`,
      value: kept ? "" : used?.strength,
      oninput: chooseAdapters,
    });
    const line = h("label", { class: "hint", hidden: why || !used }, "strength", strength);
    const row = h("div", { class: "actions" }, box, h("label", { for: id }, name), line, h("p", { class: "hint" }, why));
    return { name, merged, box, strength, line, kept, row };
  });
  fill(list, rows.map(({ row }) => row));
  adapters.node.hidden = !rows.length;
}

function chooseAdapters() {
  for (const { box, line } of rows) line.hidden = box.disabled || !box.checked;
  const used = rows.filter(({ box, merged }) => box.checked && !merged);
  choices[model.id] = used.map(({ name, strength: { value }, kept }) => ({ name, strength: value ? +value : kept }));
}

function chosen() {
  const usual = model.adapters.filter((adapter) => adapter.default && !adapter.merged);
  return choice() ?? usual.map(({ name }) => ({ name }));
}

function standard(name) {
  if (name === "seed") return "random";
  const value = model.defaults[name] ?? model.defaults.guidance_scale; // which the second one follows
  return value.small ?? value;
}
