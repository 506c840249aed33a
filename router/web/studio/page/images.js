// The field of an image: dropped, pasted or chosen, checked, and shown as it will be cropped.

import { h } from "./dom.js";
import { Field } from "./fields.js";
import { bytes, number } from "./format.js";

const TYPES = "PNG, JPEG, WebP, HEIC or AVIF";
const SIGNATURE = /^(\x89PNG|\xff\xd8\xff|RIFF.{4}WEBP|.{4}ftyp)/s;

export class ImageField extends Field {
  constructor(name, label, { limits, changed }) {
    const accept = "image/*,.heic,.heif,.avif";
    super(name, label, h("input", { type: "file", accept, onchange: () => this.take(this.control.files[0]) }));
    Object.assign(this, { limits, changed, blob: null, size: null });
    this.picture = h("img", { alt: `${label}, as the model will see it` });
    this.about = h("span", { class: "soft" });
    const words = `Remove ${label.toLowerCase()}`;
    this.remove = h("button", { type: "button", class: "quiet", onclick: () => this.clear() }, words);
    this.control.before((this.drop = h("div", { class: "drop" })));
    this.drop.append(this.picture, this.about, this.control);
    this.problem.after(this.remove);
  }

  /** Keep an image, or say why it would be refused. */
  async take(blob) {
    if (!blob) return;
    const start = String.fromCharCode(...new Uint8Array(await blob.slice(0, 12).arrayBuffer()));
    const url = URL.createObjectURL(blob);
    const { naturalWidth: width, naturalHeight: height } = await decoded(url);
    const problem = this.refusal(blob, start, width, height);
    this.control.value = ""; // so that the same file can be chosen again
    if (problem) {
      URL.revokeObjectURL(url);
      return this.refuse(problem);
    }
    this.clear(blob, width ? { width, height } : null, url);
  }

  /** Show another image, or none. */
  clear(blob = null, size = null, url = "") {
    if (document.activeElement === this.remove) this.control.focus();
    URL.revokeObjectURL(this.picture.src);
    if (url) this.picture.src = url;
    Object.assign(this, { blob, size });
    this.refuse();
    this.changed();
  }

  /** Show the image as a video of this size sees it; `unused` says why none does. */
  show(target, unused) {
    const { blob, size, picture } = this;
    const box = target ?? size;
    this.picture.hidden = !size;
    this.remove.hidden = !blob;
    const about = blob ? `${blob.name ?? "An image"}, which this browser cannot show` : "Drop, paste or choose one";
    this.about.textContent = size ? "" : about;
    if (size) picture.style.setProperty("aspect-ratio", `${box.width} / ${box.height}`);
    const isCut = size && Math.abs((size.width * box.height) / (size.height * box.width) - 1) > 0.01;
    this.hint.textContent = unused || (size ? `${isCut ? "cropped from " : ""}${size.width} x ${size.height}` : TYPES);
  }

  refusal({ size }, start, width, height) {
    const { image_bytes: most, image_pixels: pixels } = this.limits();
    if (size > most) return `an image may have up to ${bytes(most)}, got ${bytes(size)}`;
    if (!SIGNATURE.test(start)) return `an image must be ${TYPES}, got another file`;
    if (!width && !start.includes("ftyp")) return "an image must be whole and readable, got a broken one";
    return width * height > pixels ? `an image may have up to ${number(pixels)} pixels, got ${width} x ${height}` : "";
  }
}

async function decoded(url) {
  const picture = new Image();
  picture.src = url;
  await picture.decode().catch(() => null); // without a size then
  return picture;
}
