// Two videos side by side, played in step, and the values in which they differ.

import { arrows, calm, openDialog, used } from "./detail.js";
import { button, h, soft, table } from "./dom.js";
import { count } from "./format.js";
import { picture } from "./videos.js";

const FAR = 0.3; // seconds: beyond that the follower jumps, below it plays faster or slower
const NEAR = 0.01;
const ALWAYS = ["ID", "Sent", "Finished", "Kept until"]; // differ, and say nothing about the pictures

/** Open two videos: the longer one leads, the other follows and waits at its end. */
export function openComparison(...videos) {
  const clips = videos.map((video, index) => {
    const { num_frames: frames, frames_per_second: rate } = video.provider_options.video;
    return { node: picture(video, "AB"[index], { preload: "auto" }), rate, length: frames > 1 ? frames / rate : 0 };
  });
  const moving = clips.filter(({ length }) => length).sort((a, b) => b.length - a.length);
  const [lead, follower] = moving;
  const frame = 1 / Math.max(...moving.map(({ rate }) => rate));
  const play = button("Play", () => (playing ? pause : start)());
  const position = h("input", { type: "range", min: 0, max: lead?.length, step: "any", value: 0, oninput: () => seek(position.value) });
  let playing = false, asked;
  const figures = clips.map(({ node }, index) => h("figure", null, node, h("figcaption", { class: "two-lines" }, `${"AB"[index]}: ${videos[index].prompt}`)));
  const dialog = openDialog(h("h2", null, "Comparison"), () => cancelAnimationFrame(asked), h("div", { class: "pair" }, figures),
    lead && h("p", { class: "actions" }, play, button("Frame back", () => step(-1)), button("Frame forward", () => step(1)),
      h("label", null, "Position", position)),
    differences(videos));
  if (!lead) return;
  dialog.addEventListener("keydown", (event) => {
    if (!arrows[event.key]) return;
    event.preventDefault(); // of the range, whose own steps are no frames
    step(arrows[event.key]);
  });
  if (!calm.matches) start();
  follow();

  function start() {
    playing = true;
    play.textContent = "Pause";
    seek(lead.node.currentTime);
  }

  function pause() {
    playing = false;
    play.textContent = "Play";
    for (const { node } of moving) node.pause();
    seek(lead.node.currentTime);
  }

  function seek(at) {
    for (const { node, length } of moving) {
      node.playbackRate = 1;
      node.currentTime = Math.max(0, Math.min(at, length - frame / 2));
      if (playing) node.play().catch(() => {}); // the dialog was closed
    }
  }

  function step(by) {
    pause();
    seek((Math.floor(lead.node.currentTime / frame + 0.001) + by + 0.5) * frame); // the middle of a frame
  }

  function follow() {
    asked = requestAnimationFrame(follow);
    const at = lead.node.currentTime;
    position.value = at;
    if (!playing) return;
    if (lead.node.ended) return seek(0);
    if (!follower || follower.node.ended || follower.node.seeking || at > follower.length - frame) return;
    const drift = follower.node.currentTime - at;
    if (Math.abs(drift) > FAR) follower.node.currentTime = at;
    follower.node.playbackRate = Math.abs(drift) < NEAR ? 1 : Math.max(0.75, Math.min(1.25, 1 - 2 * drift));
  }
}

function differences(videos) {
  const [a, b] = videos.map((video) => Object.fromEntries([["Prompt", video.prompt], ...used(video)]));
  const names = Object.keys({ ...a, ...b }).filter((name) => !ALWAYS.includes(name));
  const rows = names.map((name) => [name, a[name] ?? "none", b[name] ?? "none"]);
  const differing = rows.filter(([, one, other]) => one !== other);
  return [
    table("Differences", ["Differs", "A", "B"], differing),
    soft(`${count(rows.length - differing.length, "value")} the same`),
  ];
}
