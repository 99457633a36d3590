// Markdown to DOM, made for text that is still growing: only blocks that changed are made again, so that what a reader has
// selected stays, and a long answer costs no more than its last block. Blocks are those of CommonMark 0.31 (sections 4 and 5)
// without HTML blocks and link definitions, and GFM's tables and task lists. Containers nest at most MOST_DEPTH deep.

import { el, icon } from "./dom.js";
import { renderInline, trimEndOf } from "./inline.js";

const MOST_DEPTH = 8;
const MOST_COLUMNS = 64;
const MOST_CELLS = 20000;
const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})\s*(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +(?=\S)| *$)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

const blank = (line) => line === undefined || /^\s*$/.test(line);
const indentOf = (line) => line.length - line.trimStart().length;
const untab = (line) => (line.includes("\t") ? line.replace(/^[ \t]+/, expandTabs) : line);

function expandTabs(space) {
  let wide = "";
  for (const c of space) wide += c === "\t" ? " ".repeat(4 - (wide.length % 4)) : c;
  return wide;
}

// Shows a growing text in `root`. update() may be called with any text; `open` says that more will come. Returns the plain
// text of blocks that have become final since the last call, to be read out.
export class MarkdownView {
  constructor(root) {
    this.root = root;
    this.blocks = [];
    this.numFinal = 0;
  }

  update(text, open) {
    const lines = text.split(/\r\n|[\r\n]/).map(untab);
    // A list's first dash would make a heading of the line before until its text comes.
    if (open && UNDERLINE.test(lines.at(-1))) lines.pop();
    const blocks = parse(lines, 0);
    let same = 0;
    while (same < blocks.length && same < this.blocks.length && this.keep(blocks, same, open)) ++same;
    for (const old of this.blocks.splice(same)) old.node.remove();
    for (let i = same; i < blocks.length; ++i) {
      const growing = open && i === blocks.length - 1;
      const node = render(blocks[i], growing);
      this.root.append(node);
      this.blocks.push({ source: blocks[i].source, open: growing, kind: blocks[i].kind, info: blocks[i].info, node });
    }
    const before = this.numFinal;
    this.numFinal = Math.max(before, blocks.length - (open ? 1 : 0));
    return this.blocks.slice(before, this.numFinal).map((b) => b.node.textContent).join("\n");
  }

  // Is the block on the page still right? A code block that has only grown is made so: it is long, and scrolled.
  keep(blocks, i, open) {
    const old = this.blocks[i], now = blocks[i];
    const growing = open && i === blocks.length - 1;
    if (old.source === now.source && old.open === growing) return true;
    if (old.kind !== "code" || now.kind !== "code" || old.info !== now.info) return false;
    const code = old.node.querySelector("code");
    if (!code.firstChild) code.append("");
    const had = code.firstChild.data;
    if (now.text.startsWith(had)) code.firstChild.appendData(now.text.slice(had.length));
    else code.firstChild.data = now.text;
    Object.assign(old, { source: now.source, open: growing });
    return true;
  }
}

// Lines to blocks: {kind, source, ...}.
function parse(lines, depth) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (blank(lines[at])) {
      ++at;
      continue;
    }
    const [block, end] = parseBlock(lines, at, depth);
    blocks.push({ ...block, source: lines.slice(at, end).join("\n") });
    at = end;
  }
  return blocks;
}

// [block, line after it]. Always takes at least one line.
function parseBlock(lines, at, depth) {
  const line = lines[at];
  if (indentOf(line) >= 4) return indentedCode(lines, at);
  const fence = FENCE.exec(line);
  if (fence) return fencedCode(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: headingText(line.slice(heading[0].length)) }, at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (depth < MOST_DEPTH && QUOTE.test(line)) return quote(lines, at, depth);
  if (depth < MOST_DEPTH && ITEM.test(line)) return list(lines, at, depth);
  if (startsTable(lines, at)) return table(lines, at);
  return paragraph(lines, at);
}

// Without the closing run of #, which must stand apart.
function headingText(rest) {
  const text = rest.trim();
  const bare = trimEndOf(text, "#");
  return bare === "" || /[ \t]$/.test(bare) ? bare.trimEnd() : text;
}

// Would this line end a paragraph? Only a list that starts at 1, or a bullet, and never an empty item.
function interrupts(line) {
  const item = ITEM.exec(line);
  return (
    FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) ||
    (item && item[0].length < line.length && (item[2].length === 1 || /^1[.)]$/.test(item[2])))
  );
}

function indentedCode(lines, at) {
  let end = at;
  for (let i = at; i < lines.length && (blank(lines[i]) || indentOf(lines[i]) >= 4); ++i) if (!blank(lines[i])) end = i + 1;
  return [{ kind: "code", info: "", text: lines.slice(at, end).map((l) => l.slice(4)).join("\n") }, end];
}

function fencedCode(lines, at, [, indent, fence, info]) {
  const closing = new RegExp(`^ {0,3}\\${fence[0]}{${fence.length},}[ \\t]*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) ++end;
  const body = lines.slice(at + 1, end).map((l) => l.slice(Math.min(indent.length, indentOf(l))));
  return [{ kind: "code", info: info.trim().split(/\s/)[0].slice(0, 40), text: body.join("\n") }, Math.min(end + 1, lines.length)];
}

function quote(lines, at, depth) {
  const inside = [];
  let end = at;
  for (; end < lines.length; ++end) {
    const line = lines[end];
    const lazy = !blank(line) && !interrupts(line) && lazyAfter(inside.at(-1));
    if (!QUOTE.test(line) && !lazy) break;
    inside.push(untab(line.replace(QUOTE, "")));
  }
  return [{ kind: "quote", blocks: parse(inside, depth + 1) }, end];
}

// A paragraph's last line may be continued without its marks or indent.
const lazyAfter = (last) => !blank(last) && indentOf(last) < 4 && !FENCE.test(last) && !HEADING.test(last) && !RULE.test(last);

function list(lines, at, depth) {
  const kind = (mark) => mark.at(-1);
  const first = ITEM.exec(lines[at]);
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length) {
    let next = end;
    while (next < lines.length && blank(lines[next])) ++next;
    const item = next < lines.length && !RULE.test(lines[next]) ? ITEM.exec(lines[next]) : null;
    if (!item || kind(item[2]) !== kind(first[2])) break;
    if (next > end) loose = true;
    const [inside, after] = itemLines(lines, next, item);
    end = after;
    const blocks = parse(inside, depth + 1);
    if (blocks.length > 1 && hasGap(inside, blocks)) loose = true;
    items.push(blocks);
  }
  const ordered = first[2].length > 1;
  return [{ kind: "list", ordered, start: ordered ? parseInt(first[2], 10) : 1, loose, items }, end];
}

function itemLines(lines, at, [whole, indent, mark, space]) {
  const empty = whole.length === lines[at].length;
  const width = indent.length + mark.length + (!empty && space.length <= 4 ? space.length : 1);
  const inside = [lines[at].slice(width)];
  let end = at + 1;
  let fence = FENCE.exec(inside[0])?.[2];
  for (let i = end; i < lines.length; ++i) {
    const line = lines[i];
    if (blank(line)) {
      if (inside.length === 1 && blank(inside[0])) break; // an item that begins with two empty lines is empty
      inside.push("");
      continue;
    }
    const lazy = !fence && !interrupts(line) && !ITEM.test(line) && lazyAfter(inside.at(-1));
    if (indentOf(line) < width && !lazy) break;
    inside.push(line.slice(Math.min(width, indentOf(line))));
    const mark = FENCE.exec(inside.at(-1))?.[2];
    if (fence && mark?.startsWith(fence)) fence = null;
    else fence ??= mark;
    end = i + 1;
  }
  return [inside.slice(0, end - at), end];
}

// Is there an empty line between two of an item's own blocks?
function hasGap(lines, blocks) {
  let at = 0;
  for (const [i, block] of blocks.entries()) {
    while (blank(lines[at])) {
      if (i > 0) return true;
      ++at;
    }
    at += block.source.split("\n").length;
  }
  return false;
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function startsTable(lines, at) {
  const rule = lines[at + 1];
  if (!rule || !lines[at].includes("|") || !TABLE_RULE.test(rule)) return false;
  const columns = cells(rule).length;
  return columns <= MOST_COLUMNS && cells(lines[at]).length === columns;
}

function table(lines, at) {
  const align = cells(lines[at + 1]).map((rule) => (rule.endsWith(":") ? (rule.startsWith(":") ? "center" : "right") : "left"));
  const rows = [];
  let end = at + 2;
  const last = Math.min(lines.length, end + Math.floor(MOST_CELLS / align.length));
  for (; end < last && !blank(lines[end]) && !interrupts(lines[end]); ++end) rows.push(cells(lines[end]).slice(0, align.length));
  return [{ kind: "table", head: cells(lines[at]), align, rows }, end];
}

const joined = (lines, at, end) => lines.slice(at, end).map((l) => l.trimStart()).join("\n").trimEnd();

function paragraph(lines, at) {
  let end = at + 1;
  for (; end < lines.length && !blank(lines[end]); ++end) {
    const underline = UNDERLINE.exec(lines[end]);
    if (underline) return [{ kind: "heading", level: underline[1][0] === "=" ? 1 : 2, text: joined(lines, at, end) }, end + 1];
    if (interrupts(lines[end]) || startsTable(lines, end)) break;
  }
  return [{ kind: "paragraph", text: joined(lines, at, end) }, end];
}

function render(block, open) {
  switch (block.kind) {
    case "heading":
      // The page's own headings are h1 and h2.
      return el(`h${Math.min(6, block.level + 2)}`, {}, renderInline(block.text, open));
    case "rule":
      return el("hr");
    case "code":
      return renderCode(block);
    case "quote":
      return el("blockquote", {}, ...renderAll(block.blocks, open));
    case "list":
      return renderList(block, open);
    case "table":
      return renderTable(block);
    default:
      return el("p", {}, renderInline(block.text, open));
  }
}

const renderAll = (blocks, open) => blocks.map((block, i) => render(block, open && i === blocks.length - 1));

function renderCode({ info, text }) {
  const copy = el("button", { type: "button", class: "icon small", "data-copy": true, "aria-label": "Copy this code", title: "Copy" }, icon("copy"));
  const pre = el("pre", { tabindex: "0", role: "region", "aria-label": info ? `Code, ${info}` : "Code" }, el("code", {}, text));
  return el("div", { class: "code" }, el("div", { class: "code-head" }, el("span", {}, info || "text"), copy), pre);
}

function renderList({ ordered, start, loose, items }, open) {
  const node = el(ordered ? "ol" : "ul", { start: ordered && start !== 1 ? start : null });
  for (const [i, blocks] of items.entries()) {
    const item = el("li");
    for (const [j, block] of blocks.entries()) {
      const growing = open && i === items.length - 1 && j === blocks.length - 1;
      const task = j === 0 && block.kind === "paragraph" ? /^\[([ xX])\] /.exec(block.text) : null;
      if (task) item.append(el("span", { role: "img", "aria-label": task[1] === " " ? "to do" : "done" }, task[1] === " " ? "☐" : "☑"), " ");
      const shown = task ? { ...block, text: block.text.slice(4) } : block;
      item.append(block.kind === "paragraph" && !loose ? renderInline(shown.text, growing) : render(shown, growing));
    }
    node.append(item);
  }
  return node;
}

function renderTable({ head, align, rows }) {
  const row = (name, texts) =>
    el("tr", {}, ...align.map((side, i) => el(name, { class: side === "left" ? null : side, scope: name === "th" ? "col" : null }, renderInline(texts[i] ?? ""))));
  const body = el("table", {}, el("thead", {}, row("th", head)), el("tbody", {}, ...rows.map((texts) => row("td", texts))));
  return el("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, body);
}
