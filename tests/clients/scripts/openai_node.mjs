// The `openai` package for Node: both dialects, and what its user sees.
// Run as `node openai_node.mjs BASE_URL IMAGE`, in a folder whose node_modules has the package.

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import OpenAI from "openai";
import { VERSION } from "openai/version";

const [base, file] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: "none", maxRetries: 0 });
const { responses, videos } = client;
const steps = (number) => ({ provider_options: { video: { steps: number } } });
const picture = `data:image/png;base64,${(await readFile(file)).toString("base64")}`;
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function kind(data) {
  const bytes = Buffer.from(data);
  if (bytes.toString("latin1", 4, 8) === "ftyp") return "mp4";
  if (bytes.toString("latin1", 1, 4) === "PNG") return "png";
  if (bytes.toString("latin1", 0, 3) === "\xff\xd8\xff") return "jpeg";
  return bytes.toString("latin1", 8, 12) === "WEBP" ? "webp" : bytes.toString("latin1", 0, 20);
}

async function download(path) {
  const answer = await fetch(new URL(path, base));
  return kind(await answer.arrayBuffer());
}

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    const { message, code, param, type, status, requestID } = error;
    return { class: error.constructor.name, message, code, param, type, status_code: status, request_id: requestID };
  }
  return { class: null, message: "nothing was thrown" };
}

async function until(retrieve, job) {
  const statuses = [job.status];
  while (job.status === "queued" || job.status === "in_progress") {
    await pause(50);
    job = await retrieve(job.id);
    statuses.push(job.status);
  }
  return { job, statuses };
}

const finished = async (video) => (await until((id) => videos.retrieve(id), video)).job;

async function created() {
  const response = await responses.create({ model: "wan-nano", input: "a red ball", ...steps(3) });
  const part = response.output[0].content[0];
  const file = await download(part.video_url);
  return { model: response.model, part: part.type, output_text: response.output_text, file, request_id: !!response._request_id };
}

async function with_text() {
  const body = { provider_options: { video: { steps: 3, num_frames: 9 } }, seed: 7, text_output: true };
  const response = await responses.create({ model: "wan-nano", input: "a red ball", ...body });
  const final = await responses.stream({ model: "wan-nano", input: "a red ball", ...body }).finalResponse();
  const parts = response.output[0].content.map((part) => part.type);
  return { id: response.id, parts, file: await download(response.output_text), streamed: await download(final.output_text) };
}

async function with_an_image() {
  const content = [{ type: "input_image", image_url: picture, detail: "auto" }, { type: "input_text", text: "a red ball" }];
  const response = await responses.create({ model: "wan-nano", input: [{ role: "user", content }] });
  return { model: response.model, file: await download(response.output_text) };
}

async function polled() {
  const created = await responses.create({ model: "slow", input: "a red ball", background: true });
  const { job, statuses } = await until((id) => responses.retrieve(id), created);
  const items = await responses.inputItems.list(job.id);
  return { first: statuses[0], last: job.status, polls: statuses.length, prompt: items.data[0].content[0].text };
}

async function streamed() {
  const events = [];
  for await (const event of await responses.create({ model: "slow", input: "a red ball", stream: true })) events.push(event);
  const progress = events.filter((event) => event.type === "response.in_progress").map((event) => event.response.progress);
  const final = await responses.stream({ model: "slow", input: "a red ball" }).finalResponse();
  const types = [...new Set(events.map((event) => event.type))];
  return { types, progress, last: events.at(-1).response.status, file: await download(final.output_text) };
}

async function resumed() {
  const numbers = [];
  let id;
  for await (const event of await responses.create({ model: "slow", input: "a red ball", stream: true, background: true })) {
    numbers.push(event.sequence_number);
    id = event.response.id;
    if (event.type === "response.in_progress") break;
  }
  let last;
  for await (const event of await responses.retrieve(id, { stream: true, starting_after: numbers.at(-1) })) {
    numbers.push(event.sequence_number);
    last = event.type;
  }
  return { in_order: numbers.every((number, at) => at === 0 || number > numbers[at - 1]), last };
}

async function cancelled() {
  const { id } = await responses.create({ model: "slow", input: "a red ball", background: true });
  return { status: (await responses.cancel(id)).status, again: (await responses.cancel(id)).status };
}

async function called() {
  const tools = [{ type: "function", name: "look", parameters: { type: "object", properties: {} }, strict: false }];
  const response = await responses.create({ model: "wan-nano", input: "a", tools, tool_choice: "required" });
  return { type: response.output[0].type, name: response.output[0].name };
}

async function video() {
  const made = await finished(await videos.create({ model: "wan-nano", prompt: "a red ball", seconds: "1", size: "64x64", ...steps(3) }));
  const remix = await finished(await videos.remix(made.id, { prompt: "a blue ball" }));
  const reference = createReadStream(file);
  const asked = { model: "wan-nano", prompt: "a red ball", input_reference: reference, num_inference_steps: 3, seed: 7 };
  const from = await finished(await videos.create(asked));
  const content = await videos.downloadContent(made.id);
  const thumbnail = await videos.downloadContent(made.id, { variant: "thumbnail" });
  return {
    status: made.status,
    size: made.size,
    seconds: made.seconds,
    file: kind(await content.arrayBuffer()),
    thumbnail: kind(await thumbnail.arrayBuffer()),
    remixed: remix.remixed_from_video_id === made.id,
    image_model: from.model,
    ids: [made.id, from.id],
  };
}

async function flat() {
  const body = { steps: 3, num_frames: 9, negative_prompt: "blur", seed: 7 };
  return { id: (await finished(await videos.create({ model: "wan-nano", prompt: "a red ball", ...body }))).id };
}

async function images() {
  const prompt = "a red ball";
  const options = { model: "wan-nano", prompt, response_format: "b64_json" };
  const image = { num_inference_steps: 3, seed: 7 };
  const latest = async (limit) => (await videos.list({ limit })).data[limit - 1].id;
  const many = await client.images.generate({ ...options, n: 2, size: "48x32", ...image });
  const ids = [await latest(2)];
  const link = await client.images.generate({ ...options, response_format: "url" });
  const jpeg = await client.images.generate({ ...options, output_format: "jpeg" });
  const edited = await client.images.edit({ ...options, image: createReadStream(file), size: "48x32", ...image });
  ids.push(await latest(1));
  const listed = await client.images.edit({ ...options, image: [createReadStream(file)] });
  const bytes = ({ b64_json }) => kind(Buffer.from(b64_json, "base64"));
  return {
    many: many.data.map(bytes),
    link: [kind(await (await fetch(link.data[0].url)).arrayBuffer())],
    jpeg: jpeg.data.map(bytes),
    edited: [bytes(edited.data[0]), bytes(listed.data[0])],
    ids,
  };
}

async function listed() {
  const page = await videos.list({ limit: 2 });
  const ids = [];
  for await (const one of videos.list({ limit: 2 })) ids.push(one.id);
  return { page: page.data.length, has_more: page.has_more, all: ids.length, unique: new Set(ids).size };
}

async function deleted() {
  const made = await finished(await videos.create({ model: "wan-nano", prompt: "a red ball" }));
  const response = await responses.create({ model: "wan-nano", input: "a red ball" });
  const answer = await videos.delete(made.id);
  await responses.delete(response.id);
  return {
    deleted: answer.deleted,
    object: answer.object,
    video: await refusal(videos.retrieve(made.id)),
    content: await refusal(videos.downloadContent(made.id)),
    response: await refusal(responses.retrieve(response.id)),
  };
}

async function failed() {
  let last;
  for await (const event of await responses.create({ model: "broken", input: "a", stream: true })) last = event;
  const polled = await finished(await videos.create({ model: "broken", prompt: "a" }));
  return {
    waited: await refusal(responses.create({ model: "broken", input: "a" })),
    streamed: [last.type, last.response.error.code],
    polled: [polled.status, polled.error.code],
  };
}

async function models() {
  const one = await client.models.retrieve("org/text");
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return { ids: ids.sort(), alias: one.id, modality: one.modality };
}

async function refused() {
  const content = [{ type: "input_image", image_url: picture, detail: "auto" }, { type: "input_text", text: "a" }];
  const frames = { provider_options: { video: { num_frames: "five" } } };
  const running = await videos.create({ model: "slow", prompt: "a red ball" });
  return {
    mismatch: await refusal(responses.create({ model: "wan-nano-i2v", input: "a red ball" })),
    mismatch_image: await refusal(responses.create({ model: "wan-nano-t2v", input: [{ role: "user", content }] })),
    mismatch_stream: await refusal(responses.create({ model: "wan-nano-i2v", input: "a", stream: true })),
    mismatch_video: await refusal(videos.create({ model: "wan-nano-i2v", prompt: "a red ball" })),
    bad_value: await refusal(responses.create({ model: "wan-nano", input: "a", ...frames })),
    bad_value_video: await refusal(videos.create({ model: "wan-nano", prompt: "a", size: "720p" })),
    limit: await refusal(responses.create({ model: "wan-nano", input: "a", ...steps(61) })),
    mismatch_images: await refusal(client.images.generate({ model: "wan-nano-i2v", prompt: "a red ball" })),
    no_model: await refusal(responses.create({ model: "nobody", input: "a" })),
    not_ready: await refusal(videos.downloadContent(running.id)),
  };
}

const seen = { version: VERSION };
const calls = [created, with_text, with_an_image, polled, streamed, resumed, cancelled, called, video, flat, images, listed, deleted, failed, models, refused];
for (const call of calls)
  seen[call.name] = await call();
console.log(JSON.stringify(seen));
