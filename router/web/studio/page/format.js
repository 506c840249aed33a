// Numbers, times and modalities in words.

const MODALITIES = {
  t2v: "text to video",
  i2v: "image to video",
  ti2v: "text, or image, to video",
  flf2v: "first and last image to video",
};
const TIME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const BYTES = ["B", "kB", "MB", "GB", "TB"];

export const modality = (word) => MODALITIES[word] ?? word ?? "";
export const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });
/** Return a price in words: two digits of one below 1. */
export const money = (value) =>
  value.toLocaleString("en", value < 1 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 2 });
export const count = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;

/** Return seconds in words, such as "8 s", "3 min 20 s" or "2 h 5 min". */
export function seconds(value) {
  if (value == null) return "unknown";
  if (value < 9.95) return `${Number(value.toFixed(1))} s`;
  const all = Math.round(value);
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return [hours && `${hours} h`, minutes && `${minutes} min`, !hours && rest && `${rest} s`].filter(Boolean).join(" ");
}

/** Return bytes in words, such as "11.4 GB". */
export function bytes(value) {
  if (value == null) return "unknown";
  const unit = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), BYTES.length - 1);
  return `${Number((value / 1000 ** unit).toPrecision(3))} ${BYTES[unit]}`;
}

/** Return a time of seconds since 1970, such as "1 Dec, 14:05". */
export const time = (epoch) => TIME.format(epoch * 1000);
