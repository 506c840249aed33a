// The card of one job: where it is, what it shows, and what it made.

import { blob, fileUrl, post } from "./api.js";
import { button, fill, h, problem, soft } from "./dom.js";
import { count, seconds } from "./format.js";
import { isDone, isStopped, mayMake, picture, responseOf, valuesOf } from "./videos.js";

const PREVIEW_MS = 1000; // between two previews of a job
const PHASES = { download: "downloading the model", load: "loading the model", decode: "decoding" };
let isFetching = false; // one preview at a time: streams take connections enough

/** Return the card of a video; `stopped()` is called when its job was stopped, `remove(card)` to dismiss it. */
export function newCard(video, page, stopped, remove) {
  const { width, height, num_frames: frames, steps } = video.provider_options.video;
  const image = h("img", { alt: "Preview" });
  const media = h("div", { class: "media" });
  const state = h("p", { class: "state" });
  const progress = h("progress", { max: 100, "aria-label": `Progress of ${video.prompt}` });
  const reason = problem();
  const warnings = h("ul", { class: "hint" });
  const actions = h("p", { class: "actions" }, mayMake(page) && button("Stop", stop));
  const facts = [video.model, `${width}x${height}`, frames === 1 ? "image" : count(frames, "frame"), count(steps, "step")];
  const title = h("h3", { class: "two-lines", title: video.prompt }, video.prompt || "No prompt");
  const parts = h("div", { class: "facts stack" }, title, soft(facts.join(" · ")), state, progress, reason, warnings, actions);
  const node = h("li", { class: "card watched" }, media, parts);
  const card = { video, node, finished: false, update, tick, preview, finish, leave };
  let [until, previewAt, isStopping] = [null, 0, false];

  function update({ status, progress: percent, phase, steps_done, queue_position, remaining_seconds: left, warnings: told }) {
    Object.assign(card.video, { status, phase, steps_done, queue_position });
    until = left == null ? null : Date.now() + left * 1000;
    progress.value = percent ?? 0;
    warn(told);
    tick();
  }

  function tick() {
    if (!card.finished) state.textContent = isStopping ? "stopping" : words(card.video, steps, until);
  }

  async function stop({ target }) {
    isStopping = target.disabled = true;
    tick();
    try {
      await post(`${responseOf(video.id)}/cancel`);
    } catch (error) {
      isStopping = target.disabled = false;
      throw error;
    }
    stopped();
  }

  async function preview() {
    if (isFetching || !card.video.steps_done || Date.now() - previewAt < PREVIEW_MS) return;
    previewAt = Date.now();
    isFetching = true;
    const data = await blob(`v1/videos/${video.id}/content?variant=preview`).catch(() => null); // none yet
    isFetching = false;
    if (!data || card.finished) return;
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(data);
    media.append(image);
  }

  /** Show how the job ended, and return that in a word. */
  function finish(ended) {
    const word = isDone(ended) ? "done" : isStopped(ended) ? "stopped" : "failed";
    const url = fileUrl(ended);
    const focused = actions.contains(document.activeElement);
    leave();
    card.video = ended;
    state.classList.add(word);
    state.textContent = url ? `done in ${seconds(ended.inference_time_s)}` : word;
    progress.remove();
    reason.textContent = word === "failed" ? ended.error.message : "";
    warn(ended.warnings);
    // the poster first, and no byte of the video before it plays: each would hold a connection
    const player = { controls: true, loop: true, preload: "none", poster: fileUrl(ended, "thumbnail") };
    fill(media, url && picture(ended, ended.prompt, player));
    const again = async () => page.go("make", { values: await valuesOf(video.id) });
    fill(
      actions,
      url && button("Open in Keep", () => page.go("keep", { open: video.id })),
      url ? h("a", { class: "button", href: url, download: true }, "Download") : mayMake(page) && button("Try again", again),
      button("Dismiss", () => remove(card)),
    );
    if (focused) actions.firstChild.focus();
    return word;
  }

  function leave() {
    card.finished = true;
    URL.revokeObjectURL(image.src);
  }

  function warn(told = []) {
    fill(warnings, told.map((text) => h("li", null, text)));
  }

  media.style.setProperty("--aspect", `${width} / ${height}`);
  update(video);
  return card;
}

function words({ status, phase, steps_done: done, queue_position: position }, steps, until) {
  const left = until === null ? "" : `, about ${about((until - Date.now()) / 1000)}`;
  if (status === "queued") return (position ? `number ${position} in the queue` : "in the queue") + left;
  return phase === "step" ? `step ${done} of ${steps}${left && `${left} left`}` : PHASES[phase] ?? "starting";
}

function about(left) {
  const step = left < 60 ? 1 : left < 600 ? 10 : 60; // as exact as a forecast is
  return seconds(Math.max(Math.round(left / step) * step, 1));
}
