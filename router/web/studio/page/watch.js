// Unfinished jobs, followed by streams and polls until they end.

import { get, post } from "./api.js";
import { newCard } from "./card.js";
import { h, say } from "./dom.js";
import { count } from "./format.js";
import { follow, forget, isBreak, isFollowed, MOST, pauses, responseOf } from "./streams.js";

const MOST_CARDS = 20; // of jobs made elsewhere
const MOST_FINISHED = 10;
const LISTED = 100;
const [SOONEST_MS, LATEST_MS, IDLE_MS] = [1000, 5000, 15_000]; // between two polls
const isUnfinished = ({ status }) => status === "queued" || status === "in_progress";
const isRunning = ({ video }) => video.status === "in_progress";

/** Mount the list of this caller's unfinished jobs. */
export function mount(root, page) {
  const cards = new Map();
  const tabs = new BroadcastChannel(`framegate-streams ${location.pathname}`);
  const title = h("h2", { tabindex: -1 }, "Your videos");
  const lost = h("p", { class: "notice", role: "status", hidden: true });
  const empty = h("p", { class: "soft" }, "Videos in the making appear here.");
  const list = h("ul", { class: "stack watch-list" });
  const more = h("p", { class: "soft" });
  const streamed = { heard, ended: (id) => oneByOne(() => look(cards.get(id))).catch(poll), broken: poll, refused };
  const calls = { open: ({ video }) => page.go("keep", { open: video.id }), stop, again, dismiss: remove };
  let streaming = !document.hidden; // one tab of a browser has the streams: the one that was looked at last
  let [line, pause, running, timer, polling, repeat] = [Promise.resolve(), pauses(), 0, null, false, false];

  /** Choose the jobs with streams, and show what there is. */
  function arrange() {
    const unfinished = active();
    const shown = streaming && !document.hidden && lost.hidden && root.getClientRects().length;
    follow(shown ? unfinished.slice(0, MOST).map(({ video }) => video.id) : [], streamed);
    empty.hidden = cards.size > 0;
    if (unfinished.length !== running) page.emit("running", (running = unfinished.length));
  }

  /** Return the cards of unfinished jobs: running ones, then those that are next. */
  function active() {
    const rank = (card) => (isRunning(card) ? 0 : card.video.queue_position ?? 1);
    return [...cards.values()].filter(({ finished }) => !finished).sort((one, other) => rank(one) - rank(other));
  }

  function looked() {
    if (!document.hidden && !streaming) {
      streaming = true;
      tabs.postMessage("");
    }
    poll();
  }

  /** Run calls one after another: streams take connections enough. */
  function oneByOne(call) {
    const result = line.then(call);
    line = result.catch(() => null);
    return result;
  }

  async function poll() {
    repeat = polling;
    if (polling) return;
    clearTimeout(timer);
    polling = true;
    let wait = null;
    try {
      await oneByOne(readList);
      lost.hidden = true;
      pause = pauses();
    } catch (error) {
      if (!isBreak(error)) refused(error);
      lost.textContent = `${error.status === 429 ? "The server is busy" : "Connection lost"}, trying again.`;
      lost.hidden = false;
      wait = pause(error);
    } finally {
      polling = false;
    }
    arrange();
    timer = setTimeout(poll, wait ?? (repeat ? 0 : untilNext()));
  }

  async function readList() {
    const { data, has_more } = await get("v1/videos", { status: "queued,in_progress", order: "asc", limit: LISTED });
    const videos = data.filter(isUnfinished);
    for (const video of videos) {
      const card = cards.get(video.id);
      if (card) update(card, video, false);
      else if (active().length < MOST_CARDS) add(video);
    }
    for (const card of active()) if (!videos.some(({ id }) => id === card.video.id)) await look(card);
    const others = videos.filter(({ id }) => !cards.has(id)).length;
    more.textContent = others ? `and ${has_more ? "more than " : ""}${count(others, "other")}` : "";
  }

  /** Fetch a job that has ended, or is not among the first of the list. */
  async function look(card) {
    if (!card || card.finished) return;
    try {
      const video = await get(`v1/videos/${card.video.id}`);
      if (isUnfinished(video)) update(card, video, false);
      else finish(card, video);
    } catch (error) {
      if (error.status !== 404) throw error;
      remove(card);
    }
  }

  function untilNext() {
    if (document.hidden) return IDLE_MS;
    const waits = active().map(({ video }) => {
      const { id, status, remaining_seconds: left, queue_position: position } = video;
      if (isFollowed(id)) return status === "queued" ? LATEST_MS : IDLE_MS;
      return Math.min(Math.max(status === "queued" ? position * 1000 : left * 100, SOONEST_MS), LATEST_MS);
    });
    return Math.min(IDLE_MS, ...waits);
  }

  function refused(error) {
    lost.textContent = error.message;
    lost.hidden = false;
    throw error; // unhandled: the frame asks for a key
  }

  function heard(id, response) {
    // at the end the video says more
    if (cards.has(id) && isUnfinished(response)) update(cards.get(id), response, true);
  }

  function update(card, state, isStreamed) {
    const before = isRunning(card);
    // a stream is newer than a poll, but does not tell how a queue moves on
    const isNews = isStreamed || !isFollowed(card.video.id) || (!before && state.status === "queued");
    if (card.finished || !isNews) return;
    card.update(state);
    if (!document.hidden && state.phase === "step") oneByOne(card.preview);
    if (before !== isRunning(card)) arrange();
  }

  function add(video) {
    const card = newCard(video, calls);
    cards.set(video.id, card);
    const older = [...list.children].find((node) => node.dataset.at <= video.created_at);
    card.node.dataset.at = video.created_at;
    list.insertBefore(card.node, older ?? null);
    if (!isUnfinished(video)) finish(card, video);
  }

  async function stop(card) {
    card.stopping(true);
    try {
      await post(`${responseOf(card.video.id)}/cancel`);
      await oneByOne(() => look(card));
    } catch (error) {
      if (!card.finished) card.stopping(false, error.message);
      if (error.status === 401) throw error;
    }
  }

  async function again({ video }) {
    page.go("make", { values: await valuesOf(video) });
  }

  function finish(card, video) {
    forget(video.id);
    say(`${video.prompt.slice(0, 80)}: ${card.finish(video)}`);
    const ended = [...cards.values()].filter(({ finished }) => finished);
    ended.slice(0, -MOST_FINISHED).forEach(remove);
    arrange();
    page.emit("finished", video);
  }

  function remove(card) {
    if (!card) return;
    const focused = card.node.contains(document.activeElement);
    forget(card.video.id);
    cards.delete(card.video.id);
    card.leave();
    card.node.remove();
    if (focused) title.focus();
    arrange();
  }

  root.append(h("div", { class: "stack" }, title, lost, empty, list, more));
  page.on("created", (video) => {
    if (!cards.has(video.id)) add(video);
    poll();
  });
  page.on("deleted", (id) => remove(cards.get(id)));
  tabs.onmessage = () => {
    streaming = false;
    arrange();
  };
  document.addEventListener("visibilitychange", looked);
  for (const event of ["focus", "online", "offline"]) addEventListener(event, looked);
  new IntersectionObserver(arrange).observe(root); // another view is shown
  setInterval(() => document.hidden || cards.forEach((card) => card.tick()), 1000);
  if (streaming) tabs.postMessage("");
  poll();
  return { show: arrange, hide: arrange };
}

/** Return what a job was made from, as the form takes it. */
async function valuesOf({ id, model, prompt, provider_options: { video: used } }) {
  const query = { include: "message.input_image.image_url" };
  const { data } = await get(`${responseOf(id)}/input_items`, query);
  const images = data.flatMap(({ content }) => content).filter(({ image_url: url }) => url);
  return { ...used, model, prompt, ...Object.fromEntries(images.map(({ role, image_url: url }) => [role, asBlob(url)])) };
}

function asBlob(url) {
  const [, type, data] = /^data:(.*?);base64,(.*)$/s.exec(url);
  return new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], { type });
}
