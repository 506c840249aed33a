// A video's request as curl, Python and JSON, with every value that was used.

/** Return the body of `POST /v1/responses` that makes a video again; `images` has `data:` URLs by role. */
export function body(video, images = {}) {
  const options = { ...optionsOf(video), ...(images.last_image && { last_image: images.last_image }) };
  const text = { type: "input_text", text: video.prompt };
  const picture = { type: "input_image", image_url: images.image };
  const input = images.image ? [{ role: "user", content: [picture, text] }] : video.prompt;
  return { model: video.model, input, seed: video.seed, provider_options: { video: options } };
}

export const asJson = (video, images) => literal(body(video, images), JSON_WORDS);

/** Return a command for bash: JSON for text, a form with `image.png` and `last_image.png` for images. */
export function asCurl(video, server, roles, keyed) {
  const key = keyed ? ['-H "Authorization: Bearer $FRAMEGATE_API_KEY"'] : [];
  const json = ['-H "Content-Type: application/json"', `-d ${quoted(asJson(video))}`];
  const lines = roles.length ? form(video, roles) : json;
  return [`curl -sS ${quoted(`${server}v1/${roles.length ? "videos" : "responses"}`)}`, ...key, ...lines].join(" \\\n  ");
}

/** Return a program for the `openai` package, which reads `image.png` and `last_image.png`. */
export function asPython(video, server, roles, keyed) {
  const files = Object.fromEntries(roles.map((role) => [role, new Code(`data_url("${role}.png")`)]));
  const { model, input, ...extra } = body(video, files);
  const said = Object.entries({ model, input, extra_body: extra });
  const name = video.provider_options.video.num_frames === 1 ? "image.png" : "video.mp4";
  const output = roles.length && name === "image.png" ? "made.png" : name; // not over the input
  return [
    ...(roles.length ? ["import base64"] : []),
    ...(keyed ? ["import os"] : []),
    ...(roles.length || keyed ? [""] : []),
    "from openai import OpenAI",
    ...(roles.length ? READ : []),
    "",
    `client = OpenAI(base_url=${JSON.stringify(`${server}v1`)}, api_key=${keyed ? 'os.environ["FRAMEGATE_API_KEY"]' : '"none"'})`,
    "response = client.responses.create(",
    ...said.map(([key, value]) => `    ${key}=${literal(value, PYTHON_WORDS, "    ", "    ")},`),
    ")",
    'path = "/videos/" + response.id.replace("resp_", "video_") + "/content"',
    `with open("${output}", "wb") as file:`,
    "    file.write(client.get(path, cast_to=bytes))",
    "",
  ].join("\n");
}

const JSON_WORDS = { null: "null", true: "true", false: "false" };
const PYTHON_WORDS = { null: "None", true: "True", false: "False" };
const READ = [
  "", "", "def data_url(path):", '    with open(path, "rb") as file:',
  '        return "data:image/png;base64," + base64.b64encode(file.read()).decode()', "",
];

class Code {
  constructor(text) {
    this.text = text;
  }
}

function optionsOf(video) {
  const { seed, response_format: _, ...used } = video.provider_options.video;
  return Object.fromEntries(Object.entries(used).filter(([, value]) => value !== null));
}

function form(video, roles) {
  const { adapters, ...options } = optionsOf(video);
  const texts = { model: video.model, prompt: video.prompt, seed: video.seed, ...options, adapters: JSON.stringify(adapters) };
  return [
    ...roles.map((role) => `-F ${role === "image" ? "input_reference" : role}=@${role}.png`),
    ...Object.entries(texts).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`),
  ];
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function literal(value, words, indent = "", step = "  ") {
  if (value instanceof Code) return value.text;
  if (typeof value === "bigint") return `${value}`; // a seed beyond what a number holds
  if (typeof value === "boolean" || value === null) return words[value];
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = indent + step;
  const isList = Array.isArray(value);
  const lines = isList
    ? value.map((each) => inner + literal(each, words, inner, step))
    : Object.entries(value).map(([key, each]) => `${inner}${JSON.stringify(key)}: ${literal(each, words, inner, step)}`);
  if (!lines.length) return isList ? "[]" : "{}";
  const [open, close] = isList ? "[]" : "{}";
  return `${open}\n${lines.join(",\n")}\n${indent}${close}`;
}
