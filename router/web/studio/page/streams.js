// The events of unfinished jobs: few connections at a time, taken up again after a break.

import { events, isBreak, wait } from "./api.js";
import { responseOf } from "./videos.js";

export const MOST = 4; // a browser has six connections to a host, for all of its tabs
const [FIRST_MS, LONGEST_MS] = [500, 8000]; // between two tries
const open = new Map();
const last = new Map(); // sequence numbers: where a stream goes on

export const isFollowed = (id) => open.has(id);
export const pause = (tries, error) => error?.retryAfter * 1000 || Math.min(FIRST_MS * 2 ** tries, LONGEST_MS);

/** Follow the jobs of these videos and no others; call `heard(id, response)`, and `ended()` also at a break. */
export function follow(ids, heard, ended) {
  for (const id of open.keys()) if (!ids.includes(id)) close(id);
  for (const id of ids) if (!open.has(id)) start(id, heard, ended);
}

export function forget(id) {
  close(id);
  last.delete(id);
}

function close(id) {
  open.get(id)?.abort();
  open.delete(id);
}

async function start(id, heard, ended) {
  const stop = new AbortController();
  open.set(id, stop);
  const { signal } = stop;
  for (let tries = 0; !signal.aborted; tries += 1) {
    let [failed, over] = [null, false];
    try {
      for await (const data of events(responseOf(id), last.get(id), signal)) {
        tries = 0;
        over = !data;
        if (over) break;
        last.set(id, data.sequence_number);
        // the first event says how the job was when it was made
        if (data.response && data.type !== "response.created") heard(id, data.response);
      }
    } catch (error) {
      failed = error;
    }
    if (signal.aborted) return;
    if (over || failed?.status === 404) forget(id); // it has ended, or is gone
    else if (failed && !isBreak(failed)) throw failed;
    ended();
    await wait(pause(tries, failed));
  }
}
