// View keep: the gallery of videos, with its search and filters.

import { fileUrl, get } from "./api.js";
import { button, fill, h, problem } from "./dom.js";
import { count, seconds, time } from "./format.js";
import { isDone, isImage, isStopped, isUnfinished, stateOf } from "./videos.js";

const PAGE = 60;
const TYPED_MS = 250; // after the last key of a search
const FRESH_MS = 5000; // of unfinished videos
const STATUSES = [["", "All"], ["completed", "Done"], ["failed", "Failed"], ["cancelled", "Stopped"], ["queued,in_progress", "Unfinished"]];
const option = ([value, text]) => h("option", { value }, text);

export function mount(root, page) {
  const list = h("ul", { class: "grid plain shots" });
  const about = h("p", { class: "soft", role: "status" });
  const end = h("div", { class: "shots-end" });
  const comparing = h("p", { class: "notice actions", role: "status" });
  const q = h("input", { type: "search", maxlength: 200, autocomplete: "off", oninput: typed });
  const [status, model] = [STATUSES, [["", "All"]]].map((options) => h("select", { onchange: begin }, options.map(option)));
  const fields = { "Search prompts": q, Status: status, Model: model };
  const filters = Object.entries(fields).map(([label, control]) => h("label", { class: "field" }, h("span", null, label), control));
  fill(root, h("h1", { class: "visually-hidden" }, "Keep"), h("div", { class: "filters", role: "search" }, filters), about, list, end, comparing);
  root.addEventListener("keydown", ({ key }) => key === "Escape" && compare(null));

  const cards = new Map(); // by the video's id
  const ahead = new IntersectionObserver(([seen]) => seen.isIntersecting && load(), { rootMargin: "300% 0px" });
  let query, after, more, busy, timer;
  let first; // of two videos to compare
  let neighbour; // of the card that went last, for the focus
  page.on("deleted", forget);
  addEventListener("popstate", close); // back from a dialog
  page.on("finished", () => timer && refresh());
  page.models().then((found) => model.append(...found.map(({ id }) => option([id, id]))), () => {});
  begin();

  return {
    show({ open: id } = {}) {
      if (cards.size) refresh();
      clearInterval(timer);
      timer = setInterval(() => list.querySelector(".unfinished") && refresh(), FRESH_MS);
      if (id) open(id);
    },
    hide() {
      timer = clearInterval(timer);
      compare(null);
      close();
    },
  };

  function close() {
    for (const dialog of document.querySelectorAll(".of-keep")) dialog.close();
  }

  function begin() {
    query = { limit: PAGE, q: q.value.trim(), status: status.value, model: model.value };
    after = busy = null;
    more = true;
    cards.clear();
    fill(list);
    load();
  }

  function load() {
    return (busy ??= next(query));
  }

  async function next(mine) {
    fill(end);
    try {
      const found = await get("v1/videos", { ...mine, after });
      if (mine !== query) return;
      after = found.last_id ?? after;
      more = found.has_more;
      list.append(...add(found.data));
    } catch (error) {
      if (mine !== query) return;
      more = false;
      fill(end, problem(error.message), button("Try again", load));
    }
    busy = null;
    ahead.unobserve(end);
    if (more) ahead.observe(end); // says at once whether the end is still near
  }

  async function refresh() {
    const mine = query;
    if (busy) return load();
    const found = await get("v1/videos", mine).catch(() => null);
    if (!found || mine !== query) return;
    const now = new Set(found.data.map(({ id }) => id));
    if (found.has_more && ![...now].some((id) => cards.has(id))) return begin(); // more than a page is new
    for (const { video: { id } } of list.querySelectorAll(".unfinished")) if (!found.has_more && !now.has(id)) forget(id);
    found.data.forEach(update);
    list.prepend(...add(found.data));
  }

  function add(videos) {
    const fresh = videos.filter((video) => !cards.has(video.id) && !(query.status === "failed" && isStopped(video)));
    for (const video of fresh) cards.set(video.id, card(video));
    describe();
    return fresh.map(({ id }) => cards.get(id));
  }

  function update(video) {
    const item = cards.get(video.id);
    if (!item || stateOf(item.video) === stateOf(video)) return;
    item.video = video;
    item.className = isUnfinished(video) ? "unfinished" : "";
    item.querySelector(".shot-picture").replaceWith(picture(video));
  }

  function forget(id) {
    const item = cards.get(id);
    neighbour = item?.nextSibling ?? item?.previousSibling;
    item?.remove();
    cards.delete(id);
    if (first?.id === id) compare(null);
    describe();
  }

  function describe() {
    if (cards.size) fill(about, count(cards.size, "video"), more && " so far");
    else if (more) fill(about);
    else if (query.q || query.status || query.model) fill(about, "Nothing matches.");
    else fill(about, "Nothing here yet. ", h("a", { href: "#make" }, "Make a video"));
  }

  function card(video) {
    const length = isImage(video) ? "image" : seconds(Number(video.seconds));
    const words = h("span", { class: "shot-text two-lines" }, video.prompt.slice(0, 200));
    const facts = h("span", { class: "shot-facts soft" }, `${video.model} · ${length} · ${time(video.created_at)}`);
    const shot = button([picture(video), words, facts], () => open(video.id), "shot");
    const item = h("li", { "data-video": video.id, class: isUnfinished(video) && "unfinished" }, shot);
    item.video = video;
    return item;
  }

  function picture(video) {
    if (!isDone(video)) return h("span", { class: `shot-picture ${video.status === "failed" && !isStopped(video) ? "problem" : "soft"}` }, stateOf(video));
    const image = h("img", { class: "shot-picture", alt: "", loading: "lazy", decoding: "async", width: 320, height: 240, src: fileUrl(video, "thumbnail") });
    image.addEventListener("error", () => renew(image, video), { once: true });
    return image;
  }

  async function renew(image, video) {
    const gone = () => image.replaceWith(h("span", { class: "shot-picture soft" }, "The file is gone"));
    image.addEventListener("error", gone, { once: true });
    try {
      Object.assign(video, await get(`v1/videos/${video.id}`)); // a fresh link
      image.src = fileUrl(video, "thumbnail");
    } catch (error) {
      if (error.status === 404) forget(video.id);
      else gone();
    }
  }

  /** Let the next video that is opened be compared with this one; null ends that. */
  function compare(video) {
    first = video;
    fill(comparing, first && ["Choose the video to compare with.", button("Do not compare", () => compare(null))]);
  }

  async function open(id) {
    const video = cards.get(id)?.video ?? (await get(`v1/videos/${id}`));
    if (first && first.id !== id && isDone(video)) {
      (await import("./compare.js")).openComparison(first, video);
      return compare(null);
    }
    const { openDetail } = await import("./detail.js");
    openDetail(video, { page, compare, beside, update, closed: (last) => (cards.get(last) ?? neighbour)?.firstChild.focus() });
  }

  async function beside(id, step) {
    const item = cards.get(id);
    if (step < 0) return item?.previousSibling?.video;
    if (more && item && !item.nextSibling) await load();
    return item?.nextSibling?.video;
  }

  function typed() {
    clearTimeout(typed.timer);
    typed.timer = setTimeout(begin, TYPED_MS);
  }
}
