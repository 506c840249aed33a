// The events of unfinished jobs: few connections at a time, taken up again after a break.

import { events } from "./api.js";

export const MOST = 4; // a browser has six connections to a host, for all of its tabs
const [FIRST_MS, LONGEST_MS] = [500, 8000]; // between two tries
const open = new Map();
const last = new Map(); // sequence numbers: where a stream goes on

export const responseOf = (id) => `v1/responses/${id.replace("video", "resp")}`;
export const isFollowed = (id) => open.has(id);

/** True for what a server or a proxy answers while it restarts or is busy, and for no answer. */
export const isBreak = ({ status }) => !status || status === 429 || status >= 500;

/** Return the milliseconds until the next try: twice as many each time, or what the server asks for. */
export const pause = (tries, error) => error?.retryAfter * 1000 || Math.min(FIRST_MS * 2 ** tries, LONGEST_MS);

/** Follow these videos' jobs and no others; `calls` are `heard(id, response)`, `ended(id)`, `broken()`, `refused(error)`. */
export function follow(ids, calls) {
  for (const id of open.keys()) if (!ids.includes(id)) close(id);
  for (const id of ids) if (!open.has(id)) start(id, calls);
}

export function forget(id) {
  close(id);
  last.delete(id);
}

function close(id) {
  open.get(id)?.abort();
  open.delete(id);
}

async function start(id, calls) {
  const stop = new AbortController();
  open.set(id, stop);
  const { signal } = stop;
  const end = () => {
    forget(id);
    calls.ended(id);
  };
  for (let tries = 0; !signal.aborted; tries += 1) {
    let failed = null;
    try {
      for await (const { event, data } of events(responseOf(id), { after: last.get(id), signal })) {
        tries = 0;
        if (event === "done") return end();
        last.set(id, data.sequence_number);
        // the first event says how the job was when it was made
        if (data.response && event !== "response.created") calls.heard(id, data.response);
      }
    } catch (error) {
      failed = error;
    }
    if (signal.aborted) return;
    if (failed?.status === 404) return end();
    if (failed && !isBreak(failed)) return calls.refused(failed);
    calls.broken();
    await new Promise((wake) => setTimeout(wake, pause(tries, failed)));
  }
}
