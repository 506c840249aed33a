// View Run: the server for administrators, their own queue and usage for others.

import { get, post, remove, wait } from "./api.js";
import { button, fill, h, problem, say, soft, table } from "./dom.js";
import { bytes, count, money, number, seconds, time } from "./format.js";
import { stateOf } from "./videos.js";

const TICK_MS = 5000;
const SELDOM = 6; // ticks between two looks at parts after the second
const KINDS = ["completed", "cancelled", "failed"];
const LIMITS = ["queued", "running", "per_minute"];
const MARKS = { "+": "good", "-": "bad", "@": "soft" };

export function mount(root, page) {
  const parts = page.caller.admin ? admin(page) : own();
  const trouble = problem();
  let timer;
  let tick = 0;
  fill(root, h("div", { class: "stack run" }, h("h1", null, "Run"), trouble, parts.map((part) => part.node)));

  async function refresh() {
    clearTimeout(timer);
    const due = tick++ % SELDOM === 0;
    const done = await Promise.allSettled(parts.map((part, n) => (due || n < 2) && part.read()));
    trouble.textContent = done.find((each) => each.reason)?.reason.message ?? "";
    clearTimeout(timer);
    if (active()) timer = setTimeout(refresh, TICK_MS);
  }
  const active = () => !root.hidden && document.visibilityState === "visible";
  document.addEventListener("visibilitychange", () => active() && refresh());
  return { show: refresh, hide: () => clearTimeout(timer) };
}

const admin = (page) => [
  part("Engines", "admin/engines", engines),
  part("Queue", "admin/queue", queue),
  part("Failures", "admin/failures?limit=50", failures(page)),
  part("Keys", "admin/keys", keys),
  part("Revisions of the models file", "admin/revisions", revisions),
];

const own = () => [
  part("Your queue", "v1/videos?status=queued,in_progress&limit=50", videos),
  part("Your usage of 30 days", "v1/usage", usage),
];

/** Return a card that is drawn again after changes; the focus and what is open stay. */
function part(title, path, draw) {
  const body = h("div", { class: "stack" });
  const all = (selector) => [...body.querySelectorAll(selector)];
  const name = (node) => (node.ariaLabel ?? node.textContent).replace(/^(Drain|Resume) /, "");
  let drawn;
  const read = async () => {
    const found = await get(path);
    const seen = JSON.stringify(found, (name, value) => (name === "age_seconds" ? undefined : value));
    if (seen === drawn) return found;
    drawn = seen;
    const focused = body.contains(document.activeElement) && name(document.activeElement);
    const open = all("details").map((each) => each.open);
    fill(body, draw(found, read));
    const stops = all("button, summary, [tabindex]");
    if (focused) (stops.find((each) => name(each) === focused) ?? stops[0])?.focus();
    all("details").forEach((each, n) => (each.open = open[n]));
    return found;
  };
  return { read, node: h("section", { class: "card stack", "aria-label": title }, h("h2", null, title), body) };
}

const badge = (text, kind) => h("span", { class: `badge ${kind}` }, text);
const list = (items) => items.length > 0 && h("ul", { class: "plain" }, items.map((item) => h("li", null, item)));
const folded = (title, ...body) => h("details", null, h("summary", null, title), body);

function act(label, about, listen) {
  const pressed = button(label, listen); // what fails is unhandled: the frame says it
  pressed.ariaLabel = `${label} ${about}`;
  return h("p", null, pressed);
}

function engines({ data }, again) {
  if (!data.length) return soft("No engine was seen within an hour.");
  const living = data.filter(({ alive }) => alive);
  return [
    h("div", { class: "grid" }, data.map((engine) => one(engine, again, living))),
    living.length > 0 && living.every(({ draining }) => draining) &&
      h("p", { class: "notice" }, "Every engine drains: nothing new starts."),
  ];
}

function one(engine, again, living) {
  const { device, draining, alive, pid, job, loaded, memory } = engine;
  const path = `admin/engines/${encodeURIComponent(engine.id)}/drain`;
  const name = living.filter((each) => each.device === device).length > 1 ? `${device}, process ${pid}` : device;
  const change = async () => {
    await (draining ? remove : post)(path);
    say(draining ? `${name} claims jobs again` : `${name} ends its job and claims no more`);
    await again();
  };
  const most = Math.max(1, ...loaded.map((held) => held.bytes_owned + held.bytes_shared));
  const lacks = list(Object.entries({ ...engine.lacks, ...engine.too_large }).map((each) => each.join(": ")));
  const state = alive ? badge(job ? "busy" : "idle", "good") : badge("lost", "bad");
  return h("div", { class: "card stack" },
    h("h3", { class: "actions" }, device, state, alive && draining && badge("draining", "warn")),
    soft(engine.kind, `, process ${pid}`, job && `; runs ${engine.job_model ?? "a deleted job"}`),
    alive && [
      soft(`${bytes(memory.device_bytes)} in use on the device, ${bytes(memory.resident_bytes)} on the host`),
      list(loaded.map((held) => weights(held, most))) || soft("No model is loaded."),
      lacks && folded(`${count(lacks.children.length, "model")} cannot run here`, lacks),
      act(draining ? "Resume" : "Drain", name, change),
    ]);
}

function weights({ model, state, bytes_owned: owned, bytes_shared: shared }, most) {
  const size = owned + shared ? `: ${bytes(owned)} owned, ${bytes(shared)} shared` : "";
  return [
    model, h("span", { class: "soft" }, state === "warm" ? " warm on the host" : " loaded", size),
    size && h("progress", { value: owned + shared, max: most, "aria-hidden": "true" }),
  ];
}

function queue({ data, hours }) {
  const rows = data.map((each) => [
    each.model, each.queued, each.running, seconds(each.expected_seconds), each.queued && seconds(each.oldest_seconds),
  ]);
  return [
    data.length
      ? table("Queue by model", ["Model", "Queued", "Running", "Work queued", "Oldest waits"], rows)
      : soft("Nothing waits, nothing runs."),
    throughput(hours),
  ];
}

function throughput(hours) {
  const total = (name) => hours.reduce((sum, hour) => sum + hour[name], 0);
  const most = Math.max(1, ...hours.map((hour) => KINDS.reduce((sum, kind) => sum + hour[kind], 0)));
  const bars = hours.map((hour, n) => {
    let y = 60;
    return KINDS.map((kind) => {
      const height = (hour[kind] / most) * 58;
      return h("svg:rect", { class: kind, x: n * 10 + 1, y: (y -= height), width: 8, height });
    });
  });
  const rows = hours.map(({ hour, gpu_seconds: worked, ...ended }) => [
    time(Date.parse(hour) / 1000), ...KINDS.map((kind) => ended[kind]), seconds(worked),
  ]);
  return [
    h("h3", null, "The last 24 hours"),
    h("p", { class: "actions" }, KINDS.map((kind) => badge(`${number(total(kind))} ${kind}`, kind)),
      `devices worked ${seconds(total("gpu_seconds"))}`),
    h("svg:svg", { class: "bars", viewBox: "0 0 240 60", preserveAspectRatio: "none", "aria-hidden": "true" }, bars),
    folded("By hour", table("Work by hour", ["Hour", "Completed", "Cancelled", "Failed", "Device time"], rows)),
  ];
}

const failures = (page) => ({ data }) => {
  if (!data.length) return soft("No job failed.");
  const rows = data.map((job) => [
    time(job.finished_at), job.model, job.key_name ?? job.owner, h("code", null, job.code),
    [
      job.message, soft(job.cause),
      soft(`${count(job.attempts, "attempt")}, request ${job.request_id}`),
      act("Open", job.id, () => page.go("keep", { open: job.id })),
    ],
  ]);
  return table("Failed jobs", ["Failed", "Model", "Key", "Code", "Reason"], rows);
};

function budgets(all) {
  return list(all.map(({ subject, name, unit, amount, window, used, reserved, left }) => {
    const of = `${unit.replace("_", " ")} of the ${subject} ${name}`;
    const about = `${of}: ${number(left)} of ${number(amount)} left this ${window}`;
    return [about, h("progress", { value: used + reserved, max: amount, "aria-label": about })];
  }));
}

function keys({ data }) {
  if (!data.length) return soft("There are no keys: 'framegate keys create NAME' makes one.");
  const rows = data.map(({ usage: used, limits, ...key }) => [
    [key.name, " ", h("code", null, key.id)], key.owner, key.scopes.join(", "),
    badge(key.state, key.state === "active" ? "good" : "bad"),
    `${count(used.jobs, "job")}, ${seconds(used.gpu_seconds)}, cost ${money(used.cost)}`,
    LIMITS.filter((name) => limits[name]).map((name) => `${limits[name]} ${name.replace("_", " ")}`).join(", "),
    budgets(key.budgets),
  ]);
  return table("API keys", ["Key", "Owner", "Scopes", "State", "30 days", "Limits", "Budgets"], rows);
}

function revisions({ data }, again) {
  if (!data.length) return soft("This server has one model and no models file.");
  const preview = h("div", { class: "stack", role: "status" });
  const reload = async () => {
    const made = await post("admin/reload");
    say(made.changes.join("; "));
    fill(preview);
    start.firstChild.focus();
    // the server's other processes see it a moment later
    for (let tries = 20; tries && (await again()).data.find((each) => each.current)?.n !== made.revision; tries--) await wait(500);
  };
  const look = async () => {
    const { file, changed, changes, diff, problems } = await get("admin/reload");
    fill(preview,
      problems.length > 0 && h("div", { class: "problem" }, "This file cannot be served:", list(problems)),
      changed ? list(changes) : soft("Nothing has changed."),
      diff && marked(diff, file),
      changed && !problems.length && h("p", null, button("Reload now", reload)));
  };
  const start = act("Reload", "the models file", look);
  return [soft(data[0].file), start, preview, list(data.map(revision))];
}

function revision({ n, created_at: at, current, changes }) {
  const body = h("div");
  const open = async ({ currentTarget }) => {
    if (!currentTarget.open || body.firstChild) return;
    const { diff, against } = await get(`admin/revisions/${n}`);
    fill(body, against ? marked(diff, `revision ${n}`) : soft("The first one that is kept."));
  };
  const details = folded([`Revision ${n}, ${time(at)} `, current && badge("current", "good")], body);
  details.addEventListener("toggle", open);
  return [details, list(changes)];
}

function marked(diff, name) {
  const lines = diff.split("\n").map((line) => h("span", { class: MARKS[line[0]] }, `${line}\n`));
  return h("pre", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Differences of ${name}` }, lines);
}

function videos({ data }) {
  if (!data.length) return soft("Nothing of yours waits or runs.");
  const rows = data.map((video) => [video.prompt, video.model, stateOf(video), seconds(video.remaining_seconds)]);
  return table("Your jobs", ["Prompt", "Model", "State", "Time left"], rows);
}

function usage({ data, budgets: all }) {
  const models = {};
  for (const { model, jobs, gpu_seconds: worked, cost } of data) {
    models[model] ??= [0, 0, 0, 0];
    [jobs.completed, jobs.failed + jobs.cancelled, worked, cost].forEach((value, n) => (models[model][n] += value));
  }
  const rows = Object.entries(models).map(([model, [done, other, worked, cost]]) => [
    model, done, other, seconds(worked), money(cost),
  ]);
  return [
    rows.length
      ? table("Usage by model", ["Model", "Completed", "Failed or cancelled", "Device time", "Cost"], rows)
      : soft("Nothing was used."),
    all.length > 0 && [h("h3", null, "Budgets"), budgets(all)],
  ];
}
