// View keep: the gallery, its search and filters, and two videos chosen to compare.

import { fileUrl, get } from "./api.js";
import { fill, h, say } from "./dom.js";
import { count, seconds, time } from "./format.js";

const PAGE = 60;
const TYPED_MS = 250; // after the last key of a search
const FRESH_MS = 5000; // of unfinished videos
const STATUSES = {
  "": "All", completed: "Done", failed: "Failed", cancelled: "Stopped", "queued,in_progress": "Unfinished",
};

export const isDone = (video) => video.status === "completed";
export const isStopped = (video) => video.error?.code === "cancelled";
export const isUnfinished = (video) => !isDone(video) && video.status !== "failed";

/** Return what stands in place of the picture of a video without a file. */
export function stateOf(video) {
  if (isStopped(video)) return "Stopped";
  if (video.status === "failed") return `Failed: ${video.error?.message ?? "no reason is known"}`;
  if (video.status === "queued") return video.queue_position > 1 ? `Waiting, number ${video.queue_position}` : "Waiting";
  return `Running, ${video.progress ?? 0} %`;
}

export function mount(root, page) {
  const list = h("ul", { class: "grid shots", onkeydown: pressed, onclick: clicked, onchange: chose });
  const about = h("p", { class: "soft", role: "status" });
  const end = h("div", { class: "shots-end" });
  const search = h("input", { id: "keep-q", type: "search", maxlength: 200, autocomplete: "off", oninput: typed });
  const status = choice("keep-status", Object.entries(STATUSES));
  const model = choice("keep-model", [["", "All"]]);
  const order = choice("keep-order", [["desc", "Newest first"], ["asc", "Oldest first"]]);
  const both = h("button", { type: "button", class: "primary", onclick: () => compare() }, "Compare chosen");
  const bar = h("p", { class: "card chosen", hidden: true }, h("span"), both, h("button", { type: "button", onclick: unchoose }, "Clear"));
  fill(root, h("h1", { class: "visually-hidden" }, "Keep"),
    h("div", { class: "filters", role: "search" }, field("Search prompts", search), field("Status", status), field("Model", model), field("Order", order)),
    about, list, end, bar);

  const cards = new Map(); // the item of each video that is shown, by id
  let ids = []; // of all that came, also where a filter of this page leaves one out
  let chosen = [];
  let query = {};
  let more = true;
  let busy = null;
  let timer = null;

  const ahead = new IntersectionObserver(([seen]) => seen.isIntersecting && load(), { rootMargin: "300% 0px" });
  page.on("deleted", forget);
  page.on("finished", () => timer && refresh());
  page.models().then((found) => model.append(...found.map(({ id }) => h("option", { value: id }, id)))).catch(() => {});
  begin();

  return {
    show(detail) {
      if (ids.length) refresh();
      clearInterval(timer);
      timer = setInterval(() => list.querySelector(".unfinished") && refresh(), FRESH_MS);
      if (detail?.open) open(detail.open);
    },
    hide() {
      clearInterval(timer);
      timer = null;
      for (const dialog of document.querySelectorAll("dialog.of-keep[open]")) dialog.close();
    },
  };

  function begin() {
    query = { q: search.value.trim(), status: status.value, model: model.value, order: order.value };
    ids = [];
    more = true;
    busy = null;
    cards.clear();
    fill(list);
    fill(end);
    load();
  }

  function load() {
    const mine = query;
    busy ??= next(mine).catch((error) => mine === query && refused(error)).finally(() => {
      if (mine !== query) return;
      busy = null;
      ahead.unobserve(end);
      if (more) ahead.observe(end); // says at once whether the end is still near
    });
    return busy;
  }

  async function next(mine) {
    const found = await get("v1/videos", { ...mine, limit: PAGE, after: ids.at(-1) });
    if (mine !== query) return;
    more = found.has_more;
    list.append(...found.data.filter((video) => !cards.has(video.id)).flatMap(card));
    ids.push(...found.data.map((video) => video.id));
    describe();
  }

  function refused(error) {
    if (error.status === 404 && error.param === "after") return forget(ids.at(-1)); // deleted elsewhere: the one before it
    more = false;
    const again = () => {
      more = true;
      fill(end);
      load();
    };
    fill(end, h("p", { class: "problem", role: "alert" }, error.message), h("button", { type: "button", onclick: again }, "Try again"));
  }

  /** Bring the newest page up to date, whatever has happened elsewhere. */
  async function refresh() {
    const mine = query;
    if (busy) return;
    if (mine.order === "asc") {
      more = true;
      return load();
    }
    const found = await get("v1/videos", { ...mine, limit: PAGE }).catch(() => null);
    if (!found || mine !== query || busy) return;
    const now = new Set(found.data.map((video) => video.id));
    const last = found.has_more ? ids.indexOf(found.data.at(-1).id) : ids.length - 1;
    if (found.has_more && last < 0) return begin(); // more than a page is new
    for (const id of ids.slice(0, last + 1)) if (!now.has(id)) forget(id);
    const known = new Set(ids);
    const fresh = found.data.filter((video) => !known.has(video.id));
    list.prepend(...fresh.flatMap(card));
    ids.unshift(...fresh.map((video) => video.id));
    for (const video of found.data) if (!fresh.includes(video)) update(video);
    describe();
  }

  function update(video) {
    const old = cards.get(video.id);
    if (!old || old.dataset.state === stateKey(video)) return;
    const focused = old.contains(document.activeElement);
    const [item] = card(video);
    if (!item) return forget(video.id);
    old.replaceWith(item);
    if (focused) item.firstChild.focus();
  }

  function forget(id) {
    const item = cards.get(id);
    if (item?.contains(document.activeElement)) (item.nextSibling ?? item.previousSibling)?.firstChild.focus();
    item?.remove();
    cards.delete(id);
    ids = ids.filter((other) => other !== id);
    choose(chosen.filter((video) => video.id !== id));
    describe();
  }

  function describe() {
    if (cards.size) return fill(about, count(cards.size, "video"), more && " so far");
    const filtered = query.q || query.status || query.model;
    if (more) fill(about);
    else if (filtered) fill(about, "Nothing matches.");
    else fill(about, "Nothing here yet. ", h("a", { href: "#make" }, "Make a video"));
  }

  /** Return the item of a video, in a list; none where "Failed" is asked for and it was stopped. */
  function card(video) {
    if (query.status === "failed" && isStopped(video)) return [];
    const { num_frames: frames } = video.provider_options.video;
    const length = frames === 1 ? "image" : seconds(Number(video.seconds));
    const item = h("li", { class: isUnfinished(video) && "unfinished", "data-id": video.id, "data-state": stateKey(video) },
      h("button", { type: "button", class: "shot" }, picture(video),
        h("span", { class: "shot-text" }, video.prompt.slice(0, 200)),
        h("span", { class: "shot-facts soft" }, `${video.model} · ${length} · ${time(video.created_at)}`)));
    if (isDone(video)) {
      item.append(h("input", { type: "checkbox", "aria-label": `Choose to compare: ${video.prompt.slice(0, 60)}`, checked: isChosen(video) }));
    }
    item.video = video;
    cards.set(video.id, item);
    return [item];
  }

  function isChosen(video) {
    return chosen.some((one) => one.id === video.id);
  }

  function chose({ target }) {
    const { video } = target.closest("li");
    choose(target.checked ? [...chosen, video] : chosen.filter((one) => one.id !== video.id));
  }

  function choose(videos) {
    chosen = videos.slice(-2); // a third takes the place of the first
    for (const box of list.querySelectorAll("input")) box.checked = isChosen(box.parentNode.video);
    bar.hidden = !chosen.length;
    bar.firstChild.textContent = chosen.length === 1 ? "1 chosen, choose another" : "2 chosen";
    both.disabled = chosen.length < 2;
  }

  function unchoose() {
    choose([]);
  }

  /** Choose a video too, and compare once there are two. */
  async function compare(video) {
    if (video && !isChosen(video)) choose([...chosen, video]);
    if (chosen.length < 2) return say("Choose another video to compare with.");
    (await import("./compare.js")).openComparison(...chosen);
  }

  async function open(id) {
    try {
      const video = cards.get(id)?.video ?? (await get(`v1/videos/${id}`));
      const { openDetail } = await import("./detail.js");
      openDetail(video, { page, compare, beside, update, closed: (last) => cards.get(last)?.firstChild.focus() });
    } catch (error) {
      say(error.message);
    }
  }

  /** Return the video before (-1) or after (1) another one, null at either end. */
  async function beside(id, step) {
    const item = cards.get(id);
    if (step > 0 && item && !item.nextSibling && more) await load();
    return (step > 0 ? item?.nextSibling : item?.previousSibling)?.video ?? null;
  }

  function clicked({ target }) {
    if (target.closest(".shot")) open(target.closest("li").dataset.id);
  }

  function pressed(event) {
    const item = event.target.closest("li");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (event.key === "c") item.querySelector("input")?.click();
    if (!steps) return;
    event.preventDefault();
    const items = [...list.children];
    items[items.indexOf(item) + steps]?.firstChild.focus();
  }

  function typed() {
    clearTimeout(typed.timer);
    typed.timer = setTimeout(begin, TYPED_MS);
  }

  function choice(id, options) {
    return h("select", { id, onchange: () => begin() }, options.map(([value, text]) => h("option", { value }, text)));
  }
}

const stateKey = (video) => `${video.status} ${isUnfinished(video) ? stateOf(video) : ""}`;
const field = (label, control) => h("div", { class: "field" }, h("label", { for: control.id }, label), control);

function picture(video) {
  if (!isDone(video)) return h("span", { class: `shot-picture ${isStopped(video) || isUnfinished(video) ? "soft" : "problem"}` }, stateOf(video));
  const image = h("img", { class: "shot-picture", alt: "", loading: "lazy", decoding: "async", width: 320, height: 240 });
  image.addEventListener("error", () => renew(image, video), { once: true });
  image.src = fileUrl(video, "thumbnail");
  return image;
}

/** Show a picture again whose link has expired, or say that its file is gone. */
async function renew(image, video) {
  const gone = () => image.replaceWith(h("span", { class: "shot-picture soft" }, "The file is gone"));
  try {
    const fresh = await get(`v1/videos/${video.id}`);
    image.addEventListener("error", gone, { once: true });
    image.src = fileUrl(fresh, "thumbnail");
    Object.assign(video, fresh);
  } catch {
    gone();
  }
}
