// Calls to the server's API, with the key of this browser.

import { session } from "./session.js";

const SILENT_MS = 45_000; // a stream sends something every 15 seconds

/** The server's own words for a refusal; status 0 where no answer came. */
export class ApiError extends Error {
  constructor(status, { message, code = "", param = "" }, retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, param, retryAfter });
  }
}

export const get = (path, query) => json(path + asQuery(query));
export const post = (path, body = {}) =>
  json(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
export const send = (path, form, headers) => json(path, { method: "POST", body: form, headers });
export const remove = (path) => json(path, { method: "DELETE" });
export const blob = async (path) => (await answer(path)).blob();

/** Return the relative URL of a completed video's file, which needs no key; null without a file. */
export function fileUrl(video, variant) {
  if (!video.url) return null;
  const url = new URL(video.url, location.href);
  const path = url.pathname.slice(url.pathname.lastIndexOf("/v1/") + 1);
  if (variant && path.startsWith("v1/videos/")) url.searchParams.set("variant", variant);
  return path + url.search;
}

export const responseOf = (id) => `v1/responses/${id.replace("video", "resp")}`;

/** Return a video's input images by role, as `data:` URLs. */
export async function imagesOf({ id, images }) {
  if (!images?.length) return {};
  const { data } = await get(`${responseOf(id)}/input_items`, { include: "message.input_image.image_url" });
  const parts = data.flatMap(({ content }) => content).filter(({ type }) => type === "input_image");
  return Object.fromEntries(parts.map((part) => [part.role, part.image_url]));
}

/** Return the Blob of a `data:` URL, which the page's policy lets nobody fetch. */
export function asBlob(url) {
  const [, type, text] = /^data:(.*?);base64,(.*)$/s.exec(url);
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type });
}

/** Yield the server-sent events of a path, as `{event, data}`; a stream that was whole ends with "done". */
export async function* events(path, { after = null, signal } = {}) {
  const stop = new AbortController();
  const end = () => stop.abort();
  signal?.addEventListener("abort", end);
  let timer = setTimeout(end, SILENT_MS);
  try {
    const query = asQuery({ stream: "true", starting_after: after });
    const response = await answer(path + query, { signal: stop.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(end, SILENT_MS);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1];
        if (data === "[DONE]") yield { event: "done", data: null };
        else if (data) yield { event: /^event: (.*)$/m.exec(block)?.[1] ?? "message", data: JSON.parse(data) };
      }
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
    stop.abort();
  }
}

/** Return a new Idempotency-Key, also without HTTPS, which the browser's UUIDs need. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function json(path, options) {
  return (await answer(path, options)).json();
}

async function answer(path, { headers = {}, ...options } = {}) {
  const key = session.key ? { authorization: `Bearer ${session.key}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...key, ...headers }, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "the server does not answer", code: "unreachable" });
  }
  if (response.ok) return response;
  const failed = await response.json().catch(() => ({}));
  const wait = response.headers.get("retry-after");
  const error = failed.error ?? { message: `the server answered ${response.status}` };
  throw new ApiError(response.status, error, wait === null ? null : Number(wait));
}

function asQuery(values = {}) {
  const used = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return used.length ? `?${new URLSearchParams(used)}` : "";
}
