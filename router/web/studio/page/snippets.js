// A video's request as curl, Python and JSON, with every value that was used.

const WORDS = { JSON: { true: "true", false: "false" }, Python: { true: "True", false: "False" } };
const READ = [
  "", "", "def data_url(path):", '    with open(path, "rb") as file:',
  '        return "data:image/png;base64," + base64.b64encode(file.read()).decode()', "",
];

/** Return the body of `POST /v1/responses`; `images` has `data:` URLs by role. */
export const asJson = (video, images) => literal(body(video, images), "JSON");

/** Return a command for bash: JSON for text, a form with `image.png` and `last_image.png` for images. */
export function asCurl(video, images, server, keyed) {
  const roles = Object.keys(images);
  const key = keyed ? ['-H "Authorization: Bearer $FRAMEGATE_API_KEY"'] : [];
  const json = ['-H "Content-Type: application/json"', `-d ${quoted(asJson(video, {}))}`];
  const url = quoted(`${server}v1/${roles.length ? "videos" : "responses"}`);
  return [`curl -sS ${url}`, ...key, ...(roles.length ? form(video, roles) : json)].join(" \\\n  ");
}

/** Return a program for the `openai` package, which reads `image.png` and `last_image.png`. */
export function asPython(video, images, server, keyed) {
  const roles = Object.keys(images);
  const { model, input, ...extra } = body(video, Object.fromEntries(roles.map((role) => [role, new Code(`data_url("${role}.png")`)])));
  const imports = [...(roles.length ? ["import base64"] : []), ...(keyed ? ["import os"] : [])];
  const key = keyed ? 'os.environ["FRAMEGATE_API_KEY"]' : '"none"';
  const file = video.provider_options.video.num_frames === 1 ? "made.png" : "made.mp4";
  return [
    ...imports, ...(imports.length ? [""] : []), "from openai import OpenAI", ...(roles.length ? READ : []), "",
    `client = OpenAI(base_url="${server}v1", api_key=${key})`,
    "response = client.responses.create(",
    ...Object.entries({ model, input, extra_body: extra }).map(([name, value]) => `    ${name}=${literal(value, "Python", "    ")},`),
    ")",
    'path = "/videos/" + response.id.replace("resp_", "video_") + "/content"',
    `with open("${file}", "wb") as file:`,
    "    file.write(client.get(path, cast_to=bytes))",
    "",
  ].join("\n");
}

class Code {
  constructor(text) {
    this.text = text;
  }
}

function body(video, images) {
  const text = { type: "input_text", text: video.prompt };
  const input = images.image ? [{ role: "user", content: [{ type: "input_image", image_url: images.image }, text] }] : video.prompt;
  const options = { ...optionsOf(video), last_image: images.last_image };
  return { model: video.model, input, seed: video.seed, provider_options: { video: options } };
}

function optionsOf(video) {
  const { seed, response_format: _, ...used } = video.provider_options.video;
  return used;
}

function form(video, roles) {
  const { adapters, ...options } = optionsOf(video);
  const texts = { model: video.model, prompt: video.prompt, seed: video.seed, ...options, adapters: JSON.stringify(adapters) };
  return [
    ...roles.map((role) => `-F ${role === "image" ? "input_reference" : role}=@${role}.png`),
    ...entries(texts).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`),
  ];
}

const entries = (values) => Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function literal(value, language, indent = "") {
  if (value instanceof Code) return value.text;
  if (typeof value === "boolean") return WORDS[language][value];
  if (typeof value === "bigint") return `${value}`; // a seed
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const isList = Array.isArray(value);
  const lines = isList
    ? value.map((each) => inner + literal(each, language, inner))
    : entries(value).map(([key, each]) => `${inner}"${key}": ${literal(each, language, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  return lines.length ? `${open}\n${lines.join(",\n")}\n${indent}${close}` : open + close;
}
