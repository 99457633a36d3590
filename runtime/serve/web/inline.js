// Inline Markdown to DOM nodes: emphasis, code, links, strike-through, line breaks. The rules are CommonMark 0.31's (section
// 6, with the delimiter-stack algorithm of its appendix) and GFM's strike-through and bare links; HTML stays text, but for <br>.
//
// The text comes from a model, so it is hostile: only http and https become links, elements nest at most MOST_DEPTH deep
// (browsers lay out recursively), and a paragraph of more than MOST_CHARS is shown as it is, so that no input is slow.
// `open`: the text is still growing, so what was opened and not yet closed is shown as if it were.

import { el } from "./dom.js";

const MOST_DEPTH = 16;
const MOST_CHARS = 20000;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", hellip: "…", mdash: "—", ndash: "–" };
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-z]{2,6}));/y;
const AUTOLINK = /<(https?:\/\/[^\s<>]{1,2000})>/y;
const BARE_LINK = /https?:\/\/[^\s<>"`]{1,2000}/y;
const BREAK_TAG = /<br {0,3}\/?>/iy;
const TARGET = /\([ \n]{0,8}(?:<([^<>\n]{0,2000})>|((?:[^\s()<>\\]|\\.|\([^\s()]{0,500}\)){0,2000}))(?:[ \n]{1,8}(?:"(?:[^"\\]|\\.){0,500}"|'(?:[^'\\]|\\.){0,500}'|\([^()]{0,500}\)))?[ \n]{0,8}\)/y;
const PLAIN = /[^\\`*_~[\]!<&\nh ]+/y;

export function renderInline(text, open = false) {
  const out = document.createDocumentFragment();
  if (text.length > MOST_CHARS) out.append(text);
  // Marks at the very end may yet grow into others; a reader need not see them half.
  else out.append(...new Inline(open ? trimEndOf(text, "*_`~") : text, open).parse());
  return out;
}

// `text` without the characters of `marks` at its end. A loop, since a regular expression would look from every start.
export function trimEndOf(text, marks) {
  let end = text.length;
  while (end > 0 && marks.includes(text[end - 1])) --end;
  return text.slice(0, end);
}

// An item is a finished node ({node, depth}), or a run of delimiters ({mark, count, ...}).
class Inline {
  constructor(text, open) {
    this.text = text;
    this.open = open;
    this.at = 0;
    this.items = [];
    this.brackets = []; // indices of items that are "[" and may open a link
    this.backticks = ticksByLength(text);
  }

  parse() {
    while (this.at < this.text.length) this.step();
    this.emphasis(0);
    return this.items.map(nodeOf);
  }

  step() {
    const c = this.text[this.at];
    if (c === "\\") return this.escape();
    if (c === "`") return this.code();
    if (c === "*" || c === "_" || c === "~") return this.delimiters(c);
    if (c === "!" && this.text[this.at + 1] === "[") return this.bracket("![");
    if (c === "[") return this.bracket("[");
    if (c === "]") return this.closeBracket();
    if (c === "<") return this.angle();
    if (c === "&") return this.entity();
    if (c === "h") return this.bareLink();
    if (c === " ") return this.spaces();
    if (c === "\n") return this.lineBreak(false);
    this.literal(this.match(PLAIN)?.[0] ?? c);
  }

  match(pattern, at = this.at) {
    pattern.lastIndex = at;
    return pattern.exec(this.text);
  }

  literal(text) {
    this.at += text.length;
    this.add(text);
  }

  add(text) {
    const last = this.items.at(-1);
    if (last?.node?.nodeType === Node.TEXT_NODE) last.node.appendData(text);
    else this.items.push({ node: document.createTextNode(text), depth: 0 });
  }

  element(node, depth = 1) {
    this.items.push({ node, depth });
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === "\n") {
      this.at += 1;
      return this.lineBreak(true);
    }
    this.at += next && /[!-/:-@[-`{-~]/.test(next) ? 2 : 1;
    this.add(this.text[this.at - 1]);
  }

  spaces() {
    const run = this.match(/ +/y)[0];
    const next = this.text[this.at + run.length];
    if (next !== "\n") return this.literal(run);
    this.at += run.length;
    this.lineBreak(run.length > 1);
  }

  lineBreak(hard) {
    this.at += this.match(/\n */y)[0].length;
    if (hard) this.element(el("br"));
    else this.add("\n");
  }

  code() {
    const run = this.match(/`+/y)[0];
    const closers = this.backticks.get(run.length);
    while (closers.length && closers.at(-1) <= this.at) closers.pop();
    const end = closers.at(-1) ?? (this.open && run.length === 1 ? this.text.length : -1);
    if (end < 0) return this.literal(run);
    let text = this.text.slice(this.at + run.length, end).replaceAll("\n", " ");
    if (/^ .*[^ ].* $/.test(text)) text = text.slice(1, -1);
    this.element(el("code", {}, text));
    this.at = Math.min(this.text.length, end + run.length);
  }

  angle() {
    const link = this.match(AUTOLINK);
    const newline = link ? null : this.match(BREAK_TAG);
    if (link && safeUrl(link[1]) && !this.brackets.length) {
      this.at += link[0].length;
      this.element(anchor(safeUrl(link[1]), [link[1]]));
    } else if (newline) {
      this.at += newline[0].length;
      this.element(el("br"));
    } else {
      this.literal("<");
    }
  }

  entity() {
    const found = this.match(ENTITY);
    const [, decimal, hex, name] = found ?? [];
    const code = decimal ? Number(decimal) : hex ? parseInt(hex, 16) : -1;
    const char = name ? ENTITIES[name] : code >= 0 ? (code > 0 && code < 0x110000 ? String.fromCodePoint(code) : "\ufffd") : undefined;
    if (char === undefined) return this.literal("&");
    this.at += found[0].length;
    this.add(char);
  }

  bareLink() {
    const before = this.text[this.at - 1];
    const found = before && /[\p{L}\p{N}]/u.test(before) ? null : this.match(BARE_LINK);
    const url = found && trimUrl(found[0]);
    if (!url || !safeUrl(url) || this.brackets.length) return this.literal(this.match(/h[^\\`*_~[\]!<&\nh ]*/y)[0]);
    this.at += url.length;
    this.element(anchor(safeUrl(url), [url]));
  }

  bracket(mark) {
    this.brackets.push(this.items.length);
    this.items.push({ mark, count: 1, canOpen: false, canClose: false });
    this.at += mark.length;
  }

  closeBracket() {
    const start = this.brackets.pop();
    const target = start === undefined ? null : this.match(TARGET, this.at + 1);
    if (start === undefined) return this.literal("]");
    const opener = this.items[start];
    const href = target && safeUrl(unescapeUrl(target[1] ?? target[2]));
    // While the address is still arriving, show the text alone rather than half an address.
    const half = !target && this.open && this.text[this.at + 1] === "(" && !/[\s)]/.test(this.text.slice(this.at + 2));
    if (!target && !half) return this.literal("]");
    this.emphasis(start + 1);
    const inside = this.items.splice(start).slice(1);
    const depth = 1 + deepest(inside);
    this.at = half ? this.text.length : this.at + 1 + target[0].length;
    if (!href || depth > MOST_DEPTH || (opener.mark === "![" && this.brackets.length)) {
      this.items.push(...inside);
    } else {
      // Images of other hosts are never fetched: that would tell them who reads. A link stands in their place.
      const nodes = inside.map(nodeOf);
      this.element(anchor(href, opener.mark === "![" ? ["image: ", ...nodes] : nodes), depth);
    }
    if (opener.mark === "[") this.brackets.length = 0; // links do not nest
  }

  delimiters(mark) {
    const count = this.match(mark === "*" ? /\*+/y : mark === "_" ? /_+/y : /~+/y)[0].length;
    const before = this.at ? charBefore(this.text, this.at) : " ";
    const after = this.at + count < this.text.length ? String.fromCodePoint(this.text.codePointAt(this.at + count)) : " ";
    if (mark === "~" && count > 2) return this.literal("~".repeat(count));
    const spaceBefore = /\s/.test(before), spaceAfter = /\s/.test(after);
    const markBefore = PUNCTUATION.test(before), markAfter = PUNCTUATION.test(after);
    const left = !spaceAfter && (!markAfter || spaceBefore || markBefore);
    const right = !spaceBefore && (!markBefore || spaceAfter || markAfter);
    const canOpen = mark === "_" ? left && (!right || markBefore) : left;
    const canClose = mark === "_" ? right && (!left || markAfter) : right;
    this.items.push({ mark, count, length: count, canOpen, canClose });
    this.at += count;
  }

  // Pairs the delimiters from item `from` on, innermost first. Quadratic at worst, which MOST_CHARS keeps to milliseconds.
  emphasis(from) {
    for (let close = from; close < this.items.length; ++close) {
      const closer = this.items[close];
      while (closer.canClose && closer.count > 0) {
        let start = close - 1;
        while (start >= from && !pairs(this.items[start], closer)) --start;
        const removed = start < from ? null : this.wrap(start, close);
        if (removed === null) break;
        close -= removed;
      }
    }
    if (this.open && from === 0) this.closeAtEnd();
  }

  // Makes one element of what lies between two delimiters; how many items the closer moved down, or null where it would be too deep.
  wrap(start, close) {
    const opener = this.items[start], closer = this.items[close];
    const inside = this.items.slice(start + 1, close);
    const depth = 1 + deepest(inside);
    if (depth > MOST_DEPTH) return null;
    const width = opener.mark === "~" ? opener.count : opener.count > 1 && closer.count > 1 ? 2 : 1;
    const node = el(opener.mark === "~" ? "del" : width === 2 ? "strong" : "em", {}, ...inside.map(nodeOf));
    opener.count -= width;
    closer.count -= width;
    const keep = opener.count > 0 ? [opener] : [];
    this.items.splice(start, close - start, ...keep, { node, depth });
    return close - start - keep.length - 1;
  }

  closeAtEnd() {
    for (let start = this.items.length - 1; start >= 0; --start) {
      const opener = this.items[start];
      if (!opener.canOpen || opener.count === 0 || start === this.items.length - 1) continue;
      const inside = this.items.slice(start + 1);
      const depth = 1 + deepest(inside);
      if (depth > MOST_DEPTH || opener.count > 3) return;
      const name = opener.mark === "~" ? "del" : opener.count > 1 ? "strong" : "em";
      this.items.splice(start, this.items.length, { node: el(name, {}, ...inside.map(nodeOf)), depth });
    }
  }
}

function pairs(opener, closer) {
  if (!opener.canOpen || opener.mark !== closer.mark || !opener.count) return false;
  if (opener.mark === "~") return opener.count === closer.count;
  const ofThree = (opener.canClose || closer.canOpen) && (opener.length + closer.length) % 3 === 0;
  return !ofThree || (opener.length % 3 === 0 && closer.length % 3 === 0);
}

const nodeOf = (item) => item.node ?? document.createTextNode(item.mark.length > 1 ? item.mark : item.mark.repeat(item.count));
const deepest = (items) => items.reduce((most, item) => Math.max(most, item.depth ?? 0), 0);

function charBefore(text, at) {
  const low = text.charCodeAt(at - 1);
  return low >= 0xdc00 && low < 0xe000 && at > 1 ? text.slice(at - 2, at) : text[at - 1];
}

// Where runs of n backticks stand, last first: a search for a closing run then never reads the text again.
function ticksByLength(text) {
  const found = new Map();
  for (const run of text.matchAll(/`+/g)) {
    if (!found.has(run[0].length)) found.set(run[0].length, []);
    found.get(run[0].length).push(run.index);
  }
  for (const positions of found.values()) positions.reverse();
  return found;
}

// A sentence's own punctuation is no part of the address in it.
function trimUrl(url) {
  for (;;) {
    const last = url.at(-1);
    const unbalanced = last === ")" && url.split(")").length > url.split("(").length;
    if (!unbalanced && !".,:;!?'*_~]".includes(last)) return url;
    url = url.slice(0, -1);
  }
}

const unescapeUrl = (url) => url.replace(/\\([!-/:-@[-`{-~])/g, "$1").replaceAll("&amp;", "&");

// The address where it is http or https, else null: no javascript:, no data:, nothing relative to this server.
export function safeUrl(text) {
  if (!/^https?:\/\//i.test(text)) return null;
  try {
    return new URL(text).href;
  } catch {
    return null;
  }
}

const anchor = (href, nodes) => el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...nodes);
