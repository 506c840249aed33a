// Models and routes in words: what they take, and what can run here.

import { modality } from "./format.js";

const NEEDS = { i2v: ["image"], flf2v: ["image", "last_image"] };
const PHRASES = { image: "an image", last_image: "a last image" };

export const needs = (model) => NEEDS[model.modality] ?? [];
export const takes = (model) => (model.modality === "ti2v" ? ["image"] : needs(model));
export const isHere = ({ weights }, model) => /^(none|embedded|here)$/.test(weights) || model.download;
export const accepts = (model, roles) =>
  needs(model).every((role) => roles.includes(role)) && roles.every((role) => takes(model).includes(role));
export const describe = ({ id, modality: word }) => `${id} is ${modality(word)}`;

/** The list of a server's models, the default first. */
export class Models {
  constructor(list) {
    this.list = list.toSorted((one, other) => other.default - one.default);
  }

  find(name) {
    return this.list.find((each) => each.id === name || each.aliases.includes(name));
  }

  /** Return what may run for a model or route, in the order in which it is tried. */
  members({ id, members = [id] }) {
    return members.map((name) => this.find(name)).filter((model) => model?.limits && isHere(model, model));
  }

  /** Return the words for a list, with the reason where it cannot run. */
  title(entry) {
    const { id, members, limits, weights } = entry;
    const what = members ? `route to ${members.join(", ")}` : modality(entry.modality);
    const why = limits ? `weights ${weights}` : (weights ?? "none of them is here");
    return [id, what, this.members(entry).length ? "" : why].filter(Boolean).join(" · ");
  }

  /** Return [field, words] where nothing takes these images; null where something does. */
  mismatch(entry, roles) {
    const members = this.members(entry);
    if (members.some((model) => accepts(model, roles))) return null;
    const what = members.map(describe).join(", ");
    const role = members.flatMap(needs).find((each) => !roles.includes(each)) ?? "image";
    return [role, entry.members ? `no member of ${entry.id} takes this: ${what}` : `${what}: it needs ${PHRASES[role]}`];
  }
}
