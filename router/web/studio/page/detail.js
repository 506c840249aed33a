// One video: how it looks, every value that was used, and what can be done with it.

import { blob, fileUrl, remove } from "./api.js";
import { button, fill, h } from "./dom.js";
import { money, seconds, time } from "./format.js";
import { session } from "./session.js";
import { asCurl, asJson, asPython } from "./snippets.js";
import { imagesOf, isDone, isImage, isUnfinished, mayMake, picture, stateOf, valuesOf, videoOf } from "./videos.js";

const FRESH_MS = 2000; // of an unfinished video
const COPIES = { curl: asCurl, Python: asPython, JSON: asJson };
export const arrows = { ArrowLeft: -1, ArrowRight: 1 };
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Return `[name, text]` of everything that made a video what it is. */
export function used(video) {
  const options = video.provider_options.video;
  const { num_frames: frames, frames_per_second: rate, width, height } = options;
  const adapters = options.adapters.map(({ name, strength: at }) => `${name} at ${Object.values(at).join(" and ") || at}`);
  const { reproducible, lossy = [], may_vary_with: varies = [] } = (!video.error && video.numerics) || {};
  const values = {
    Model: video.model,
    Size: `${width} × ${height}`,
    Frames: isImage(video) ? "1, an image" : `${frames}, ${seconds(frames / rate)} at ${rate} a second`,
    Steps: options.steps,
    Guidance: options.guidance_scale,
    "Second guidance": options.guidance_scale_2,
    "Flow shift": options.flow_shift,
    Seed: video.seed,
    Adapters: adapters.join(", "),
    "Negative prompt": options.negative_prompt,
    "Same again": reproducible ? "with this seed, byte for byte" : varies.length ? `may vary with ${varies.join(", ")}` : null,
    "Changed by": lossy.join(", "),
    "Device time": video.usage && seconds(video.usage.gpu_seconds),
    Cost: video.usage?.cost && money(video.usage.cost),
    Sent: time(video.created_at),
    Finished: video.completed_at && `${time(video.completed_at)}, ${seconds(video.inference_time_s)} after its start`,
    "Kept until": video.expires_at && time(video.expires_at),
    Notes: video.warnings.join("; "),
    ID: video.id,
  };
  return Object.entries(values).filter(([, value]) => value || value === 0).map(([name, value]) => [name, `${value}`]);
}

/** Open a dialog that is gone once it is closed, with the connections of its videos. */
export function openDialog(title, closed, ...children) {
  title.id = "keep-title";
  const close = button("Close", () => dialog.close());
  const dialog = h("dialog", { class: "of-keep", "aria-labelledby": title.id }, h("p", { class: "actions" }, title, close), children);
  dialog.addEventListener("close", () => {
    unload(dialog);
    dialog.remove();
    closed();
  });
  if (!history.state) history.pushState("dialog", ""); // which Back closes
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function openDetail(video, { page, compare, beside, update, closed }) {
  let inputs, timer;
  const title = h("h2");
  const content = h("div", { class: "detail" });
  const copied = h("span", { class: "good", role: "status" });
  const dialog = openDialog(title, () => closed(video.id), content);
  const steps = { "-1": button("Previous", () => step(-1)), 1: button("Next", () => step(1)) };
  title.after(steps[-1], steps[1]);
  dialog.addEventListener("keydown", ({ key, target }) => {
    if (arrows[key] && !/VIDEO|TEXTAREA/.test(target.tagName)) step(arrows[key]); // there the arrows are the player's
  });
  show(video);

  function show(next) {
    video = next;
    inputs = imagesOf(video);
    draw();
    renew();
    for (const by of [-1, 1]) beside(video.id, by).then((found) => (steps[by].ariaDisabled = !found));
  }

  function draw() {
    unload(content);
    title.textContent = `Video of ${time(video.created_at)}`;
    const player = { controls: true, loop: true, autoplay: !calm.matches };
    const shown = isDone(video) ? picture(video, "The video", player) : h("p", { class: "notice" }, stateOf(video));
    const images = h("p", { class: "actions" });
    fill(content, h("div", { class: "stack" }, shown, images),
      h("div", { class: "stack" }, h("p", { class: "detail-prompt", tabindex: 0 }, video.prompt), actions(),
        h("dl", null, used(video).map(([name, text]) => [h("dt", null, name), h("dd", null, text)]))));
    inputs.then((found) => fill(images, Object.entries(found).map(download)), refused);
  }

  function actions() {
    const done = isDone(video);
    const may = mayMake(page);
    return h("p", { class: "actions" },
      done && h("a", { class: "button", href: fileUrl(video), download: true }, "Download"),
      may && [
        action("Again with this seed", async () => leave(await valuesOf(video.id))),
        action("Vary", async () => leave({ ...(await valuesOf(video.id)), seed: null })),
        done && action("Use last frame as image", async () => leave({ image: await blob(fileUrl(video, "last_frame")) })),
      ],
      done && button("Compare", () => dialog.close() ?? compare(video)),
      Object.keys(COPIES).map((kind) => action(`Copy as ${kind}`, () => copy(kind))),
      copied,
      may && button("Delete", ask, "bad"));
  }

  function action(name, act, kind) {
    return button(name, () => act().catch(refused), kind);
  }

  function refused(error) {
    if (error.status !== 404) throw error;
    page.emit("deleted", video.id);
    unload(content);
    fill(content, h("p", { class: "notice", role: "alert" }, "It was deleted elsewhere."));
  }

  function leave(values) {
    dialog.close();
    page.go("make", { values });
  }

  async function copy(kind) {
    const text = COPIES[kind](video, await inputs, new URL("./", location.href).href, Boolean(session.key));
    const area = h("textarea", { readOnly: true, "aria-label": "Text to copy", value: text, rows: 8 });
    const { activeElement } = document;
    fill(copied);
    try {
      await navigator.clipboard.writeText(text); // missing without HTTPS
    } catch {
      content.append(area);
      area.select();
      if (!document.execCommand("copy")) return;
      area.remove();
      activeElement.focus();
    }
    fill(copied, "Copied");
  }

  function ask({ target }) {
    const yes = action(isUnfinished(video) ? "Stop and delete" : "Delete for good", async () => {
      await remove(`v1/videos/${video.id}`);
      page.emit("deleted", video.id);
      dialog.close();
    }, "bad");
    const no = button("Do not delete", () => {
      yes.remove();
      no.replaceWith(target);
      target.focus();
    });
    target.replaceWith(yes, no);
    no.focus();
  }

  async function renew() {
    clearTimeout(timer);
    const before = video;
    try {
      const fresh = await videoOf(video.id);
      if (video !== before || !dialog.open) return;
      video = fresh;
      update(fresh);
      if (isUnfinished(fresh)) timer = setTimeout(renew, FRESH_MS);
      if (stateOf(before) !== stateOf(fresh) || before.seed !== fresh.seed) draw();
    } catch (error) {
      if (video === before) refused(error);
    }
  }

  async function step(by) {
    const next = await beside(video.id, by);
    if (next && dialog.open) show(next);
  }
}

function unload(part) {
  for (const player of part.querySelectorAll("video")) {
    player.removeAttribute("src");
    player.load();
  }
}

function download([role, url]) {
  return h("a", { href: url, download: `${role}.png` }, h("img", { src: url, alt: role === "image" ? "Image" : "Last image" }));
}
