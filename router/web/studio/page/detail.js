// One video: how it looks, every value that was used, and what can be done with it.

import { blob, fileUrl, get, remove } from "./api.js";
import { fill, h } from "./dom.js";
import { number, seconds, time } from "./format.js";
import { isDone, isUnfinished, stateOf } from "./keep.js";
import { session } from "./session.js";
import { asCurl, asJson, asPython } from "./snippets.js";

const FRESH_MS = 2000; // of an unfinished video
const ROLES = { image: "Image", last_image: "Last image" };
const COPIES = { curl: asCurl, Python: asPython, JSON: asJson };
export const calm = matchMedia("(prefers-reduced-motion: reduce)");
const isImage = (video) => video.provider_options.video.num_frames === 1;

/** Return `[name, text]` of everything that made a video what it is. */
export function used(video) {
  const options = video.provider_options.video;
  const { num_frames: frames, frames_per_second: rate } = options;
  const adapters = options.adapters.map(({ name, strength: at }) => `${name} at ${at.high === undefined ? at : `${at.high} and ${at.low}`}`);
  const { reproducible: same, lossy = [], may_vary_with: varies = [] } = video.numerics ?? {};
  return Object.entries({
    Model: video.model,
    Size: `${options.width} × ${options.height}`,
    Frames: frames === 1 ? "1, an image" : `${frames}, ${seconds(frames / rate)} at ${rate} a second`,
    Steps: options.steps,
    Guidance: options.guidance_scale,
    "Second guidance": options.guidance_scale_2,
    "Flow shift": options.flow_shift,
    Seed: video.seed,
    Adapters: adapters.join(", "),
    "Negative prompt": options.negative_prompt,
    "Same again": same ? "with this seed, byte for byte" : varies.length && `may vary with ${varies.join(", ")}`,
    "Changed by": lossy.join(", "),
    "Device time": video.usage && seconds(video.usage.gpu_seconds),
    Cost: video.usage?.cost !== undefined && number(video.usage.cost),
    Sent: time(video.created_at),
    Finished: video.completed_at && `${time(video.completed_at)}, ${seconds(video.inference_time_s)} after its start`,
    "Kept until": video.expires_at && time(video.expires_at),
    "Remix of": video.remixed_from_video_id,
    Notes: video.warnings.join("; "),
    ID: video.id,
  }).filter(([name, value]) => value || (value === 0 && name !== "Same again")).map(([name, value]) => [name, `${value}`]);
}

export const button = (text, onclick, kind) => h("button", { type: "button", class: kind, onclick }, text);

/** Open a dialog that closes for good, and then lets go of its videos' connections. */
export function openDialog(title, closed, ...children) {
  const close = button("Close", () => dialog.close());
  const dialog = h("dialog", { class: "wide of-keep", "aria-labelledby": "keep-title" }, h("p", { class: "actions" }, title, close), children);
  title.id = "keep-title";
  dialog.addEventListener("close", () => {
    unload(dialog);
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Open a video; `gallery` has `page`, and what the list does. */
export function openDetail(video, { page, compare, beside, update, closed }) {
  const said = h("p", { role: "status", class: "soft" });
  const title = h("h2");
  const content = h("div", { class: "detail" });
  let inputs, timer;
  const dialog = openDialog(title, () => {
    clearTimeout(timer);
    closed(video.id);
  }, content, said);
  title.after(button("Previous", () => step(-1)), button("Next", () => step(1)));
  dialog.addEventListener("keydown", ({ key, target }) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (by && !/VIDEO|TEXTAREA/.test(target.tagName)) step(by); // there the arrows are the player's
  });
  show(video);

  function show(next) {
    video = next;
    inputs = imagesOf(video);
    said.textContent = "";
    draw();
    renew();
  }

  function draw() {
    unload(content);
    title.textContent = `${isImage(video) ? "Image" : "Video"} of ${time(video.created_at)}`;
    const images = h("div", { class: "actions" });
    fill(content, h("div", { class: "stack" }, media(), images),
      h("div", { class: "stack" }, h("p", { class: "detail-prompt" }, video.prompt), actions(),
        h("dl", null, used(video).map(([name, text]) => [h("dt", null, name), h("dd", null, text)]))));
    inputs.then((found) => fill(images, Object.entries(found).map(figure))).catch(refused);
  }

  function media() {
    if (!isDone(video)) return h("p", { class: `notice ${isUnfinished(video) ? "" : "problem"}` }, stateOf(video));
    const shared = { class: "detail-media", src: fileUrl(video) };
    if (isImage(video)) return h("img", { ...shared, alt: "The image" });
    return h("video", { ...shared, "aria-label": "The video", controls: true, loop: true, muted: true, playsinline: true, autoplay: !calm.matches });
  }

  function actions() {
    const done = isDone(video);
    return h("p", { class: "actions" },
      done && h("a", { class: "button", href: fileUrl(video), download: `${video.id}.${isImage(video) ? "png" : "mp4"}` }, "Download"),
      action("Again with this seed", () => again(video.seed)),
      action("Vary", () => again(null)),
      done && action("Use last frame as image", async () => leave({ image: await blob(fileUrl(video, "last_frame")) })),
      done && action("Compare", () => dialog.close() ?? compare(video)),
      Object.keys(COPIES).map((kind) => action(`Copy as ${kind}`, async () => copy(await text(kind)))),
      button("Delete", askDelete, "danger"));
  }

  function action(name, act) {
    return button(name, () => Promise.resolve().then(act).catch(refused));
  }

  function refused(error) {
    if (error.status === 404) gone("It was deleted elsewhere.");
    else said.textContent = error.message;
  }

  async function text(kind) {
    const found = await inputs;
    if (kind === "JSON") return asJson(video, Object.fromEntries(Object.entries(found).map(([role, { url }]) => [role, url])));
    return COPIES[kind](video, new URL("./", location.href).href, Object.keys(found), Boolean(session.key));
  }

  async function again(seed) {
    const { image, last_image: last } = await inputs;
    const { model, prompt } = video;
    leave({ ...video.provider_options.video, model, prompt, seed, image: image?.blob ?? null, last_image: last?.blob ?? null });
  }

  function leave(values) {
    dialog.close();
    page.go("make", { values });
  }

  async function copy(written) {
    const area = h("textarea", { readOnly: true, "aria-label": "Text to copy", value: written, rows: 8 });
    try {
      await navigator.clipboard.writeText(written); // missing without HTTPS
    } catch {
      said.replaceChildren(area); // in the dialog: nothing else takes the focus
      area.select();
      if (!document.execCommand("copy")) return;
    }
    said.textContent = "Copied";
  }

  function askDelete({ target }) {
    const yes = action(isUnfinished(video) ? "Stop and delete" : "Delete for good", async () => {
      await remove(`v1/videos/${video.id}`);
      gone();
      dialog.close();
    });
    yes.className = "danger";
    target.replaceWith(yes, button("Do not delete", draw));
    yes.focus();
  }

  function gone(why) {
    clearTimeout(timer);
    page.emit("deleted", video.id);
    unload(content);
    fill(content, h("p", { class: "notice", role: "alert" }, why));
  }

  /** Look again: for how far it is, a link that lasts, and whether it is still there. */
  async function renew() {
    clearTimeout(timer);
    const { id, status } = video;
    try {
      const fresh = await get(`v1/videos/${id}`);
      if (!Number.isSafeInteger(fresh.seed)) fresh.seed = await exactSeed(id);
      if (video.id !== id || !dialog.open) return;
      video = fresh;
      update(fresh);
      if (status !== fresh.status || typeof fresh.seed === "bigint") draw();
      else if (isUnfinished(fresh)) content.querySelector(".notice").textContent = stateOf(fresh);
      if (isUnfinished(fresh)) timer = setTimeout(renew, FRESH_MS);
    } catch (error) {
      if (video.id === id) refused(error);
    }
  }

  async function step(by) {
    const next = await beside(video.id, by);
    if (next && dialog.open) show(next);
  }
}

/** Return a seed beyond the whole numbers of JavaScript. */
async function exactSeed(id) {
  const text = await (await blob(`v1/videos/${id}`)).text();
  return BigInt(/"seed": ?([0-9]+)/.exec(text)[1]);
}

function unload(part) {
  for (const player of part.querySelectorAll("video")) {
    player.pause();
    player.removeAttribute("src");
    player.load();
  }
}

/** Return the input images by role, each as a Blob and a `data:` URL. */
async function imagesOf(video) {
  if (!video.images?.length) return {};
  const path = `v1/responses/resp_${video.id.slice("video_".length)}/input_items`;
  const { data } = await get(path, { include: "message.input_image.image_url" });
  const found = data.flatMap((item) => item.content).filter((part) => part.type === "input_image");
  return Object.fromEntries(found.map(({ role, image_url: url }) => [role, { url, blob: asBlob(url) }]));
}

function asBlob(url) {
  const [, type, text] = /^data:(.*?);base64,(.*)$/s.exec(url);
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type });
}

function figure([role, { url }]) {
  const link = h("a", { href: url, download: `${role}.png` }, ROLES[role]);
  return h("figure", null, h("img", { src: url, alt: "" }), h("figcaption", null, link));
}
