// A video's request as curl, Python and JSON, with every value that was used.

const READ = [
  "", "", "def data_url(path):",
  '    return "data:image/png;base64," + base64.b64encode(open(path, "rb").read()).decode()', "",
];

/** Return the body of `POST /v1/responses`; `images` has `data:` URLs by role. */
export const asJson = (video, images) => literal(body(video, images));

/** Return a command for bash, with a form where there are images. */
export function asCurl(video, images, server, keyed) {
  const roles = Object.keys(images);
  const lines = roles.length ? form(video, roles) : ['-H "Content-Type: application/json"', `-d ${quoted(asJson(video, {}))}`];
  if (keyed) lines.unshift('-H "Authorization: Bearer $FRAMEGATE_API_KEY"');
  return [`curl -sS ${quoted(`${server}v1/${roles.length ? "videos" : "responses"}`)}`, ...lines].join(" \\\n  ");
}

/** Return a program for the `openai` package, which reads images from files. */
export function asPython(video, images, server, keyed) {
  const roles = Object.keys(images);
  const { model, input, ...extra } = body(video, Object.fromEntries(roles.map((role) => [role, () => `data_url("${role}.png")`])));
  const imports = [roles.length && "import base64", keyed && "import os"].filter(Boolean);
  return [
    ...imports, ...(imports.length ? [""] : []), "from openai import OpenAI", ...(roles.length ? READ : []), "",
    `client = OpenAI(base_url="${server}v1", api_key=${keyed ? 'os.environ["FRAMEGATE_API_KEY"]' : '"none"'})`,
    "response = client.responses.create(",
    ...entries({ model, input, extra_body: extra }).map(([name, value]) => `    ${name}=${literal(value, "    ")},`),
    ")",
    'path = "/videos/" + response.id.replace("resp_", "video_") + "/content"',
    `with open("made.${video.provider_options.video.num_frames === 1 ? "png" : "mp4"}", "wb") as file:`,
    "    file.write(client.get(path, cast_to=bytes))",
    "",
  ].join("\n");
}

function body({ model, prompt, seed, provider_options: { video } }, { image, last_image }) {
  const content = [{ type: "input_image", image_url: image }, { type: "input_text", text: prompt }];
  const options = { ...video, last_image, seed: null, response_format: null };
  return { model, input: image ? [{ role: "user", content }] : prompt, seed, provider_options: { video: options } };
}

function form({ model, prompt, seed, provider_options: { video } }, roles) {
  const texts = { model, prompt, ...video, seed, adapters: JSON.stringify(video.adapters), response_format: null };
  return [
    ...roles.map((role) => `-F ${role === "image" ? "input_reference" : role}=@${role}.png`),
    ...entries(texts).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`),
  ];
}

const entries = (values) => Object.entries(values).filter(([, value]) => value != null);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Return a value as JSON, which is Python too; a function returns code. */
function literal(value, indent = "") {
  if (typeof value === "function") return value();
  if (typeof value === "bigint") return `${value}`; // a seed
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const isList = Array.isArray(value);
  const lines = entries(value).map(([key, each]) => `${inner}${isList ? "" : `"${key}": `}${literal(each, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  return lines.length ? `${open}\n${lines.join(",\n")}\n${indent}${close}` : open + close;
}
