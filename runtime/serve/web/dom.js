// Small helpers to build the page. Text reaches the document only as text nodes and attributes: nothing here, or anywhere
// in this folder, parses a string as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// el("p", {class: "soft", onclick: f, "aria-label": "x"}, "text", child). A false or null property is left out.
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const icon = (name) => svg("svg", { "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

export function iconButton(name, label, onclick) {
  return el("button", { type: "button", class: "icon small", "aria-label": label, title: label, onclick }, icon(name));
}

// Sets text only where it differs, so that polling neither moves a selection nor wakes a screen reader.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Says something to screen readers without moving the focus.
export function announce(text) {
  const log = byId("announcer");
  if (!text.trim()) return;
  log.append(el("p", {}, text));
  while (log.childElementCount > 20) log.firstChild.remove();
}

let toastTimer = 0;

// A short note at the foot of the page, with at most one action.
export function toast(text, action = null, seconds = 8) {
  const box = byId("toast");
  clearTimeout(toastTimer);
  const close = () => box.replaceChildren();
  const act = () => {
    close();
    action.run();
  };
  box.replaceChildren(el("span", {}, text));
  if (action) box.append(el("button", { type: "button", onclick: act }, action.label));
  box.append(iconButton("close", "Close this note", close));
  toastTimer = setTimeout(close, seconds * 1000);
}

// navigator.clipboard exists only on https and localhost; a server in a machine room is often neither.
export async function copyText(text) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyBySelection(text);
    toast("Copied.", null, 3);
  } catch {
    toast("The browser did not allow copying; select the text instead.");
  }
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const area = el("textarea", { class: "unseen", "aria-hidden": "true", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  if (!done) throw new Error("copying is not allowed");
}

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
