// Models and routes in words: what they take, and what can run here.

import { modality } from "./format.js";

const NEEDS = { i2v: ["image"], flf2v: ["image", "last_image"] };

export const needs = (model) => NEEDS[model.modality] ?? [];
export const takes = (model) => (model.modality === "ti2v" ? ["image"] : needs(model));
export const accepts = (model, roles) =>
  needs(model).every((role) => roles.includes(role)) && roles.every((role) => takes(model).includes(role));
export const describe = ({ id, modality: word }) => `${id} is ${modality(word)}`;
export const isHere = ({ weights }, model) => /^(none|embedded|here)$/.test(weights) || model.download;
export const find = (models, name) => models.find(({ id, aliases }) => id === name || aliases.includes(name));

/** Return what may run for a model or route, in order. */
export function members(models, { id, members: names = [id] }) {
  return names.map((name) => find(models, name)).filter((model) => model?.limits && isHere(model, model));
}

/** Return the words for a list, with the reason where it cannot run. */
export function title(models, entry) {
  const words = new Set((entry.members ?? [entry.id]).map((name) => find(models, name)?.modality));
  const what = modality(words.size > 1 ? "ti2v" : [...words][0]) + (entry.members ? " (route)" : "");
  const why = entry.limits ? `weights ${entry.weights}` : (entry.weights ?? "none of them is here");
  return [entry.id, what, !members(models, entry).length && why].filter(Boolean).join(" · ");
}
