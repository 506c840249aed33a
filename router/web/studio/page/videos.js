// Videos: their states, pictures and input images, and the values that make them again.

import { blob, fileUrl, get } from "./api.js";
import { h } from "./dom.js";

export const isDone = ({ status }) => status === "completed";
export const isRunning = ({ status }) => status === "in_progress";
export const isUnfinished = ({ status }) => status === "queued" || status === "in_progress";
export const isStopped = ({ error }) => error?.code === "cancelled"; // for the API a failed one
export const isImage = (video) => video.provider_options.video.num_frames === 1;
export const responseOf = (id) => `v1/responses/${id.replace("video", "resp")}`;

export function stateOf(video) {
  if (isDone(video)) return "Done";
  if (isStopped(video)) return "Stopped";
  if (video.status === "failed") return `Failed: ${video.error.message}`;
  if (video.status === "queued") return `Waiting, number ${video.queue_position ?? 1}`;
  return `Running, ${video.progress} %`;
}

/** True unless the caller's key may only read. */
export const mayMake = ({ caller }) => !caller?.key || /generate|admin/.test(caller.key.scopes);

export function picture(video, label, player) {
  const src = fileUrl(video);
  if (isImage(video)) return h("img", { src, alt: label });
  return h("video", { src, "aria-label": label, muted: true, playsinline: true, ...player });
}

/** Return a video, with its seed as a BigInt where JavaScript's numbers would round it. */
export async function videoOf(id) {
  const text = await (await blob(`v1/videos/${id}`)).text();
  const video = JSON.parse(text);
  if (!Number.isSafeInteger(video.seed)) video.seed = BigInt(/"seed": ?(\d+)/.exec(text)[1]);
  return video;
}

/** Return a video's input images by role, as `data:` URLs. */
export async function imagesOf({ id, images }) {
  if (!images?.length) return {};
  const { data } = await get(`${responseOf(id)}/input_items`, { include: "message.input_image.image_url" });
  const parts = data.flatMap(({ content }) => content).filter(({ type }) => type === "input_image");
  return Object.fromEntries(parts.map((part) => [part.role, part.image_url]));
}

/** Return the values of the form that make a video again. */
export async function valuesOf(id) {
  const video = await videoOf(id);
  const images = Object.entries(await imagesOf(video)).map(([role, url]) => [role, asBlob(url)]);
  const { model, prompt, seed } = video;
  return { ...video.provider_options.video, model, prompt, seed, ...Object.fromEntries(images) };
}

/** Return the Blob of a `data:` URL, which the page's policy lets nobody fetch. */
function asBlob(url) {
  const [, type, text] = /^data:(.*?);base64,(.*)$/s.exec(url);
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type });
}
