// Vercel's AI SDK: text by the Responses API, images by its OpenAI-compatible model, videos by a provider of ours.
// Run as `node ai_sdk.mjs BASE_URL IMAGE`, in a folder whose node_modules has the packages.

import { readFile } from "node:fs/promises";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { experimental_generateVideo as generateVideo, generateImage, generateText, streamText } from "ai";
import { framegate } from "./framegate_provider.mjs";

const [base, file] = process.argv.slice(2);
const picture = await readFile(file);
const { responses } = createOpenAI({ baseURL: base, apiKey: "none" });
const { imageModel, chatModel } = createOpenAICompatible({ baseURL: base, name: "framegate" });
const { video } = framegate(base);
const prompt = "a red ball";
const steps = (number) => ({ providerOptions: { framegate: { num_inference_steps: number } } });
const once = { maxRetries: 0 };
const poll = { intervalMs: 50, timeoutMs: 60_000 };

function kind(data) {
  const bytes = Buffer.from(data);
  if (bytes.toString("latin1", 4, 8) === "ftyp") return "mp4";
  return bytes.toString("latin1", 1, 4) === "PNG" ? "png" : bytes.toString("latin1", 0, 20);
}

const download = async (path) => kind(await (await fetch(new URL(path, base))).arrayBuffer());

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    const { message, code, statusCode, status } = error;
    return { class: error.name, message, code, status_code: statusCode ?? status };
  }
  return { class: null, message: "nothing was thrown" };
}

async function text() {
  const result = await generateText({ model: responses("wan-nano"), prompt, ...once });
  return { file: await download(result.text), id: result.response.id };
}

async function text_of_an_image() {
  const content = [{ type: "text", text: prompt }, { type: "file", data: picture, mediaType: "image/png" }];
  const result = await generateText({ model: responses("wan-nano"), messages: [{ role: "user", content }], ...once });
  return { file: await download(result.text), id: result.response.id };
}

async function streamed() {
  const result = streamText({ model: responses("slow"), prompt, ...once });
  return { file: await download(await result.text), id: (await result.response).id };
}

async function film(options) {
  const { video: made, providerMetadata, warnings } = await generateVideo({
    model: video("wan-nano"), resolution: "48x32", fps: 4, duration: 2, seed: 7, poll, ...once, ...steps(3), ...options,
  });
  return { file: kind(made.uint8Array), id: providerMetadata.framegate.id, warnings };
}

const video_of_text = () => film({ prompt });
const video_of_an_image = () => film({ prompt: { text: prompt, image: picture } });

async function images(options) {
  const result = await generateImage({ model: imageModel("wan-nano"), size: "48x32", ...once, ...steps(3), ...options });
  const { data } = await (await fetch(`${base}/videos?limit=${result.images.length}`)).json();
  return { files: result.images.map((image) => kind(image.uint8Array)), id: data[result.images.length - 1].id };
}

const image_of_text = () => images({ prompt, n: 2 });
const image_of_an_image = () => images({ prompt: { text: prompt, images: [picture] } });

async function refused() {
  return {
    text: await refusal(generateText({ model: responses("wan-nano-i2v"), prompt, ...once })),
    video: await refusal(generateVideo({ model: video("wan-nano-i2v"), prompt, poll, ...once })),
    image: await refusal(generateImage({ model: imageModel("wan-nano-i2v"), prompt, ...once })),
    limit: await refusal(film({ prompt, ...steps(61) })),
    chat: await refusal(generateText({ model: chatModel("wan-nano"), prompt, ...once })),
    failed: await refusal(generateVideo({ model: video("broken"), prompt, poll, ...once })),
  };
}

const seen = {};
const calls = { text, text_of_an_image, streamed, video_of_text, video_of_an_image, image_of_text, image_of_an_image, refused };
for (const [name, call] of Object.entries(calls)) seen[name] = await call();
console.log(JSON.stringify(seen));
process.exit(0);
