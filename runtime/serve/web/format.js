// Numbers as people read them. What is not a finite number is shown as a dash: the machine may not know a figure yet.

const DASH = "–";
const known = (x) => typeof x === "number" && Number.isFinite(x);

// 1234567 -> "1,234,567"
export const count = (n) => (known(n) ? Math.round(n).toLocaleString("en") : DASH);

// Three significant digits: 0.123, 1.23, 12.3, 123, 1,234.
export function figure(x) {
  if (!known(x)) return DASH;
  if (x === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(x))));
  return digits > 3 ? x.toPrecision(2) : x.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// Decimal units, as memory bandwidth and the program's own report have them.
export function bytes(n) {
  if (!known(n)) return DASH;
  let unit = 0;
  for (; n >= 999.5 && unit < 5; ++unit) n /= 1000;
  return `${unit ? figure(n) : Math.round(n)} ${["B", "kB", "MB", "GB", "TB", "PB"][unit]}`;
}

export const percent = (share) => (known(share) ? `${figureOfPercent(share * 100)} %` : DASH);
// Rounded down where it is nearly all, so that 99.996 % is never shown as 100.
const figureOfPercent = (x) => (x > 99 && x < 100 ? Math.floor(x * 100) / 100 : x >= 9.95 ? Math.round(x) : Number(x.toFixed(1)));

export function duration(seconds) {
  if (!known(seconds)) return DASH;
  const s = Math.max(0, seconds);
  if (s < 1) return `${Math.round(1000 * s)} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
