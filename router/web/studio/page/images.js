// The field of an image: dropped, pasted or chosen, checked, and shown as it will be cropped.

import { button, h } from "./dom.js";
import { field } from "./fields.js";
import { bytes, number } from "./format.js";

const TYPES = "PNG, JPEG, WebP, HEIC or AVIF";

/** Return the field of an image; `limits` returns those of the model. */
export function imageField(name, label, limits, changed) {
  const accept = ".png,.jpg,.jpeg,.webp,.heic,.heif,.avif";
  const input = h("input", { type: "file", accept, onchange: () => take(input.files[0]) });
  const picture = h("img", { alt: `${label}, as the model will see it` });
  const about = h("span", { class: "soft" });
  const remove = button(`Remove ${label.toLowerCase()}`, () => keep(), "quiet");
  const self = Object.assign(field(name, label, input), { blob: null, size: null, told: null, take, keep, show });
  input.name = ""; // it is emptied at once, and sent by its blob
  input.before(h("div", { class: "drop" }, picture, about));
  input.previousSibling.append(input);
  self.node.append(remove);
  return self;

  async function take(blob) {
    if (!blob) return;
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    await image.decode().catch(() => null); // of a type that this browser does not know
    const { naturalWidth: width, naturalHeight: height } = image;
    const { image_bytes: most, image_pixels: pixels } = limits();
    input.value = ""; // so that the same file can be chosen again
    let problem = "";
    if (/gif|svg|bmp|tiff|icon|^(?!image)./.test(blob.type)) problem = `must be ${TYPES}, got ${blob.type}`;
    else if (blob.size > most) problem = `may have up to ${bytes(most)}, got ${bytes(blob.size)}`;
    else if (width * height > pixels) problem = `may have up to ${number(pixels)} pixels, got ${width} x ${height}`;
    else return keep(blob, width ? { width, height } : null, image.src);
    URL.revokeObjectURL(image.src);
    self.refuse((self.wrong = `an image ${problem}`));
  }

  function keep(blob = null, size = null, url = "") {
    if (document.activeElement === remove) input.focus();
    URL.revokeObjectURL(picture.src);
    if (url) picture.src = url;
    Object.assign(self, { blob, size, told: null });
    changed();
  }

  /** Show the image as a video of this size sees it; `unused` says why none does. */
  function show(target, unused) {
    const { blob, size } = self;
    const box = target ?? size;
    picture.hidden = !size;
    remove.hidden = !blob;
    const words = blob ? `${blob.name ?? "An image"}, which this browser cannot show` : "Drop, paste or choose one";
    about.textContent = size ? "" : words;
    if (size) picture.style.setProperty("aspect-ratio", `${box.width} / ${box.height}`);
    const isCut = size && Math.abs((size.width * box.height) / (size.height * box.width) - 1) > 0.01;
    self.hint.textContent = unused || (size ? `${isCut ? "Cropped from " : ""}${size.width} x ${size.height}` : TYPES);
  }
}
