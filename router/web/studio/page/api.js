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

/** True for what a server or a proxy answers while it restarts or is busy, and for no answer. */
export const isBreak = ({ status }) => !status || status === 429 || status >= 500;
export const wait = (milliseconds) => new Promise((over) => setTimeout(over, milliseconds));

export const get = (path, query) => json(path + asQuery(query));
export const post = (path, body = {}) =>
  json(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
export const send = (path, form, headers) => json(path, { method: "POST", body: form, headers });
export const remove = (path) => json(path, { method: "DELETE" });
export const blob = async (path) => (await answer(path)).blob();

/** Return the relative URL of a completed video's file, which needs no key; `filename` names it when it is saved. */
export function fileUrl(video, variant, filename) {
  if (!video.url) return null;
  const url = new URL(video.url, location.href);
  const path = url.pathname.slice(url.pathname.lastIndexOf("/v1/") + 1);
  if (variant && path.startsWith("v1/videos/")) url.searchParams.set("variant", variant);
  if (filename) url.searchParams.set("filename", filename);
  return path + url.search;
}

/** Yield the data of a path's server-sent events after a number; a stream that was whole ends with null. */
export async function* events(path, after, signal) {
  const stop = new AbortController();
  let timer;
  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), SILENT_MS);
  };
  try {
    listen();
    const query = asQuery({ stream: "true", starting_after: after });
    const response = await answer(path + query, { signal: AbortSignal.any([signal, stop.signal]) });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      listen();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1];
        if (data) yield data === "[DONE]" ? null : JSON.parse(data);
      }
    }
  } finally {
    clearTimeout(timer);
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
  const error = failed.error ?? { message: `the server answered ${response.status}` };
  throw new ApiError(response.status, error, Number(response.headers.get("retry-after")) || null);
}

function asQuery(values = {}) {
  const used = Object.entries(values).filter(([, value]) => value != null && value !== "");
  return used.length ? `?${new URLSearchParams(used)}` : "";
}
