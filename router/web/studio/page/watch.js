// Unfinished jobs, followed by streams and polls until they end.

import { get, isBreak } from "./api.js";
import { newCard } from "./card.js";
import { h, say, soft } from "./dom.js";
import { follow, forget, isFollowed, MOST, pause } from "./streams.js";
import { isRunning, isUnfinished } from "./videos.js";

const MOST_CARDS = 20; // of jobs made elsewhere
const MOST_FINISHED = 10;
const [RUNNING_MS, QUEUED_MS, IDLE_MS] = [1500, 4000, 15_000]; // between two polls
const LIST = { status: "queued,in_progress", order: "asc", limit: 100 };

export function mount(root, page) {
  const cards = new Map();
  const tabs = new BroadcastChannel(`framegate-streams ${location.pathname}`);
  const title = h("h2", { tabindex: -1 }, "Videos");
  const lost = h("p", { class: "notice", role: "status", hidden: true });
  const empty = soft("Videos in the making appear here; finished ones are in Keep.");
  const list = h("ul", { class: "stack plain" });
  const more = soft();
  let streaming = !document.hidden; // one tab of a browser has the streams: the one that was looked at last
  let [tries, running, timer, polling, repeat] = [0, 0, null, false, false];

  function arrange() {
    const unfinished = active();
    const shown = streaming && !document.hidden && lost.hidden && root.getClientRects().length;
    follow(shown ? unfinished.slice(0, MOST).map(({ video }) => video.id) : [], heard, poll);
    empty.hidden = cards.size > 0;
    if (unfinished.length !== running) page.emit("running", (running = unfinished.length));
  }

  /** Return the cards of unfinished jobs: running ones, then those that are next. */
  function active() {
    const rank = ({ video }) => (isRunning(video) ? 0 : video.queue_position ?? 1);
    return [...cards.values()].filter(({ finished }) => !finished).sort((one, other) => rank(one) - rank(other));
  }

  function looked() {
    if (!document.hidden && !streaming) {
      streaming = true;
      tabs.postMessage("");
    }
    poll();
  }

  async function poll() {
    repeat = polling;
    if (polling) return;
    clearTimeout(timer);
    polling = true;
    let wait = null;
    try {
      await readList();
      lost.hidden = true;
      tries = 0;
    } catch (error) {
      if (!isBreak(error)) throw error; // unhandled: the frame says it, or asks for a key
      lost.textContent = `${error.status === 429 ? "The server is busy" : "Connection lost"}, trying again.`;
      lost.hidden = false;
      wait = pause(tries++, error);
    } finally {
      polling = false;
    }
    arrange();
    timer = setTimeout(poll, wait ?? (repeat ? 0 : untilNext()));
  }

  async function readList() {
    const { data, has_more } = await get("v1/videos", LIST);
    const videos = data.filter(isUnfinished);
    for (const video of videos) {
      if (cards.has(video.id)) update(video.id, video, false);
      else if (active().length < MOST_CARDS) add(video);
    }
    for (const card of active()) if (!videos.some(({ id }) => id === card.video.id)) await look(card);
    const others = videos.filter(({ id }) => !cards.has(id)).length;
    more.textContent = others ? `and ${has_more ? "over " : ""}${others} more` : "";
  }

  async function look(card) {
    try {
      const video = await get(`v1/videos/${card.video.id}`);
      if (isUnfinished(video)) update(video.id, video, false);
      else finish(card, video);
    } catch (error) {
      if (error.status !== 404) throw error;
      remove(card);
    }
  }

  function untilNext() {
    const wait = ({ video }) => (!isRunning(video) ? QUEUED_MS : isFollowed(video.id) ? IDLE_MS : RUNNING_MS);
    return Math.min(IDLE_MS, ...(document.hidden ? [] : active().map(wait)));
  }

  function heard(id, response) {
    if (isUnfinished(response)) update(id, response, true); // at the end the video says more
  }

  function update(id, state, isStreamed) {
    const card = cards.get(id);
    if (!card || card.finished) return;
    const before = isRunning(card.video);
    if (before && !isStreamed && isFollowed(id)) return; // a stream is newer, but does not tell how a queue moves on
    card.update(state);
    if (!document.hidden) card.preview();
    if (before !== isRunning(state)) arrange();
  }

  function add(video) {
    const card = newCard(video, page, poll, remove);
    cards.set(video.id, card);
    empty.hidden = true;
    list.prepend(card.node);
    if (!isUnfinished(video)) finish(card, video);
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
    if (card.node.contains(document.activeElement)) title.focus();
    forget(card.video.id);
    cards.delete(card.video.id);
    card.leave();
    card.node.remove();
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
}
