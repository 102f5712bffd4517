// Numbers as people read them. Knows no element.

export function bytes(count) {
  if (!count) return "0 B";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(count) / 3), units.length - 1);
  const value = count / 1000 ** power;
  return `${value >= 100 || power < 2 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

const BOUND = "\u00a0"; // no line ends between a number and its unit

export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 1) return `0${BOUND}ms`;
  if (ms < 1000) return `${Math.round(ms)}${BOUND}ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)}${BOUND}s`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = Math.floor((ms % 60_000) / 1000);
  if (minutes < 60) return seconds ? `${minutes}${BOUND}min${BOUND}${seconds}${BOUND}s` : `${minutes}${BOUND}min`;
  return `${Math.floor(minutes / 60)}${BOUND}h${BOUND}${minutes % 60}${BOUND}min`;
}

export const count = (number) => (number === null || number === undefined ? "–" : number.toLocaleString("en-US"));

export const rate = (number) =>
  number ? `${number >= 100 ? count(Math.round(number)) : number.toFixed(1)} tokens/s` : "";

export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** A moment: today's as the time, others as the day. */
export function moment(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "";
  const today = new Date().toDateString() === at.toDateString();
  if (today) return at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return at.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" });
}

/** A moment in full. */
export function fully(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

/** How long until then; models that stay for ever have a date a century away. */
export function until(text) {
  const left = new Date(text).getTime() - Date.now();
  if (left > 50 * 365 * 86_400_000) return "stays";
  return left > 0 ? `${duration(Math.round(left / 1000) * 1000)} left` : "leaving";
}

/** `demo:latest` is `demo` to everybody. */
export const short = (name) => name.replace(/:latest$/, "");

export const ordinal = (number) => {
  const tens = number % 100;
  const word = tens > 10 && tens < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[number % 10] ?? "th";
  return `${number}${word}`;
};
