// The card of one job: where it is, what it shows, and what it made.

import { blob, fileUrl } from "./api.js";
import { fill, h } from "./dom.js";
import { count, seconds } from "./format.js";

const PREVIEW_MS = 1000; // between two previews of a job
const PHASES = { download: "downloading the model", load: "loading the model", decode: "decoding" };

/** Return the card of a video; `calls` take it: `open`, `stop`, `again` and `dismiss`. */
export function newCard(video, calls) {
  const { width, height, num_frames: frames, steps } = video.provider_options.video;
  const facts = [video.model, `${width}x${height}`, frames === 1 ? "image" : count(frames, "frame"), count(steps, "step")];
  const button = (text, call) => h("button", { type: "button", onclick: () => calls[call](card) }, text);
  const image = h("img", { alt: "Preview" });
  const media = h("div", { class: "media" });
  const state = h("p", { class: "state" });
  const progress = h("progress", { max: 100, "aria-label": `Progress of ${video.prompt}` });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const warnings = h("ul", { class: "hint" });
  const actions = h("p", { class: "actions" }, button("Stop", "stop"));
  const title = h("h3", { title: video.prompt, class: "prompt" }, video.prompt || "No prompt");
  const parts = [title, h("p", { class: "soft" }, facts.join(" · ")), state, progress, problem, warnings, actions];
  let [until, previewAt, isStopping] = [null, 0, false];
  media.style.setProperty("--aspect", `${width} / ${height}`);

  const card = {
    video,
    finished: false,
    node: h("li", { class: "card watched" }, media, h("div", { class: "facts" }, parts)),

    /** Show the state of an unfinished job, as its video or its response says. */
    update({ status, progress: percent, phase, steps_done, queue_position, remaining_seconds: left, warnings: told }) {
      Object.assign(card.video, { status, phase, steps_done, queue_position });
      until = left == null ? null : Date.now() + left * 1000;
      progress.value = percent ?? 0;
      warn(told);
      card.tick();
    },

    /** Write the state again, with the time that is left now. */
    tick() {
      if (!card.finished) write(isStopping ? "stopping" : words(card.video, steps, until));
    },

    /** Say that the job is being stopped, or why it could not be. */
    stopping(is, why = "") {
      isStopping = actions.firstChild.disabled = is;
      problem.hidden = !why;
      problem.textContent = why;
      card.tick();
    },

    /** Fetch and show the preview, if it is time for one; there may be none yet. */
    async preview() {
      if (card.finished || !card.video.steps_done || Date.now() - previewAt < PREVIEW_MS) return;
      previewAt = Date.now();
      const data = await blob(`v1/videos/${video.id}/content?variant=preview`).catch(() => null);
      if (!data || card.finished) return;
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(data);
      media.append(image);
    },

    /** Show how the job ended, and return that in a word. */
    finish(ended) {
      const made = ended.status === "completed";
      const word = made ? "done" : ended.error?.code === "cancelled" ? "stopped" : "failed";
      const focused = actions.contains(document.activeElement);
      card.video = ended;
      card.leave();
      write(made ? `done in ${seconds(ended.inference_time_s)}` : word);
      card.node.classList.add(word);
      progress.remove();
      problem.hidden = word !== "failed";
      problem.textContent = ended.error?.message;
      warn(ended.warnings);
      const url = fileUrl(ended);
      const link = url && h("a", { class: "button", href: url, download: true }, "Download");
      fill(media, url && result(ended, url));
      fill(actions, made ? [button("Open in Keep", "open"), link] : button("Try again", "again"), button("Dismiss", "dismiss"));
      if (focused) actions.firstChild.focus();
      return word;
    },

    /** Give back what the browser holds for the preview. */
    leave() {
      card.finished = true;
      URL.revokeObjectURL(image.src);
    },
  };

  function write(text) {
    if (state.textContent !== text) state.textContent = text;
  }

  function warn(told = []) {
    fill(warnings, told.map((text) => h("li", null, text)));
    warnings.hidden = !told.length;
  }

  card.update(video);
  return card;
}

function words({ status, phase, steps_done: done, queue_position: position }, steps, until) {
  const left = until && `, about ${about((until - Date.now()) / 1000)}`;
  if (status === "queued") return (position ? `number ${position} in the queue` : "in the queue") + (left ?? "");
  return phase === "step" ? `step ${done} of ${steps}${left ? `${left} left` : ""}` : PHASES[phase] ?? "starting";
}

/** Return seconds in words, as exact as a forecast is. */
function about(left) {
  const step = left < 60 ? 1 : left < 600 ? 10 : 60;
  return seconds(Math.max(Math.round(left / step) * step, 1));
}

function result(video, src) {
  if (video.num_frames === 1) return h("img", { src, alt: video.prompt });
  // the poster first, and no byte of the video before it plays: each would hold a connection
  const options = { controls: true, loop: true, muted: true, playsinline: true, preload: "none", src };
  return h("video", { ...options, poster: fileUrl(video, "thumbnail"), "aria-label": video.prompt });
}
