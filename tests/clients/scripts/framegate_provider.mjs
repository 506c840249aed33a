// A video provider for the AI SDK (`ai` 7): `generateVideo({ model: framegate(base).video("wan2.2"), ... })`.

const dataUrl = ({ url, data, mediaType }) =>
  url ?? `data:${mediaType};base64,${typeof data === "string" ? data : Buffer.from(data).toString("base64")}`;

export function framegate(base, { apiKey = "none" } = {}) {
  const authorization = { authorization: `Bearer ${apiKey}` };

  async function call(path, options = {}) {
    const answer = await fetch(`${base}${path}`, { ...options, headers: { ...authorization, ...options.headers } });
    if (answer.ok) return answer;
    const { error } = await answer.json();
    throw Object.assign(new Error(error.message), { ...error, status: answer.status });
  }

  const response = (modelId) => ({ timestamp: new Date(), modelId, headers: undefined });

  const video = (modelId) => ({
    specificationVersion: "v4",
    provider: "framegate",
    modelId,
    maxVideosPerCall: 1,
    async doStart({ prompt, resolution: size, duration: seconds, fps, seed, image, providerOptions, abortSignal: signal }) {
      const body = JSON.stringify({
        model: modelId, prompt, size, seconds, fps, seed, ...providerOptions.framegate,
        ...(image && { input_reference: { image_url: dataUrl(image) } }),
      });
      const headers = { "content-type": "application/json" };
      const job = await (await call("/videos", { method: "POST", body, headers, signal })).json();
      return { operation: job.id, warnings: [], response: response(job.model) };
    },
    async doStatus({ operation: id, abortSignal: signal }) {
      const job = await (await call(`/videos/${id}`, { signal })).json();
      const about = { response: response(job.model), providerMetadata: { framegate: { id } } };
      if (job.status === "failed") return { status: "error", error: job.error.message, ...about };
      if (job.status !== "completed") return { status: "pending", ...about };
      const data = new Uint8Array(await (await call(`/videos/${id}/content`, { signal })).arrayBuffer());
      const warnings = job.warnings.map((message) => ({ type: "other", message }));
      return { status: "completed", videos: [{ type: "binary", data, mediaType: "video/mp4" }], warnings, ...about };
    },
  });
  return { video };
}
