// The page: which conversation is shown, which answers are being made, and what each control does.

import { ApiError, apiKey, getJson } from "./api.js";
import { ask, editSettings } from "./dialogs.js";
import { announce, byId, download, el, setText, toast } from "./dom.js";
import { Machine } from "./machine.js";
import { closeDrawer, initPanels, isMachineShown } from "./panels.js";
import { Run } from "./run.js";
import * as store from "./store.js";
import { Transcript, sends } from "./transcript.js";

const SAVE_EVERY_MS = 2000;
const THEME = "onecopy.theme";

let conversations = store.loadAll();
let current = store.newConversation();
let model = "";
const runs = new Map(); // conversation id -> Run

const transcript = new Transcript(byId("transcript"), byId("latest"), {
  edit: (message, text) => {
    stopCurrent();
    current.messages.splice(current.messages.indexOf(message));
    send(text);
  },
  regenerate: (message) => {
    stopCurrent();
    current.messages.splice(current.messages.indexOf(message));
    answer();
  },
});

function welcome() {
  return el("div", { class: "welcome" },
    el("p", { class: "welcome-model" }, model || "onecopy"),
    el("p", { class: "soft" }, "The picture of the machine shows where its bytes are, and what each NUMA node does for an answer."));
}

// On a phone the focus in the message box would bring up a keyboard over half of the page.
const TOUCH = matchMedia("(pointer: coarse)");

// Shows a conversation; with `focus`, its message box takes the focus.
function show(conversation, focus = true) {
  current = conversation;
  try {
    sessionStorage.setItem("onecopy.current", current.id);
  } catch {
    // The newest is shown after a reload.
  }
  transcript.show(current, runs.get(current.id) ?? null, welcome());
  refresh();
  closeDrawer();
  if (focus) byId(TOUCH.matches ? "transcript" : "prompt").focus();
}

function refresh() {
  const running = runs.has(current.id);
  setText(byId("title"), current.title);
  setText(byId("model"), model);
  document.title = current.messages.length ? `${current.title} – onecopy` : "onecopy";
  byId("stop").hidden = !running;
  byId("send").hidden = running;
  for (const id of ["rename", "export-text", "export-json", "delete"]) byId(id).disabled = !current.messages.length;
  const items = conversations.map(listItem);
  const list = byId("conversations");
  // Moved only where the order is another, since the focus may be in it.
  if (items.length !== list.childElementCount || items.some((item, i) => item !== list.children[i])) list.replaceChildren(...items);
}

const listItems = new Map(); // conversation id -> li

function listItem(conversation) {
  const { id } = conversation;
  const select = () => show(conversations.find((c) => c.id === id));
  if (!listItems.has(id)) listItems.set(id, el("li", {}, el("button", { type: "button", onclick: select })));
  const item = listItems.get(id);
  item.classList.toggle("running", runs.has(id));
  setText(item.firstChild, conversation.title);
  if (id === current.id) item.firstChild.setAttribute("aria-current", "true");
  else item.firstChild.removeAttribute("aria-current");
  return item;
}

let saidUnsaved = false;

function keep(conversation) {
  if (!conversations.includes(conversation)) conversations.unshift(conversation);
  const problem = store.save(conversation);
  if (problem && !saidUnsaved) toast(problem, null, 30);
  saidUnsaved = Boolean(problem);
}

function send(text) {
  if (!current.messages.length && !current.renamed) current.title = store.titleFrom(text);
  current.messages.push({ role: "user", content: text });
  answer();
}

async function answer() {
  const conversation = current;
  const message = { role: "assistant", content: "" };
  conversation.messages.push(message);
  conversation.updated = Date.now();
  conversations = [conversation, ...conversations.filter((c) => c !== conversation)];
  const run = new Run(conversation, message, { model, askKey, onChange: () => draw(run) });
  runs.set(conversation.id, run);
  keep(conversation);
  show(conversation);
  announce("The answer begins.");
  await run.finish();
  if (runs.get(conversation.id) === run) runs.delete(conversation.id);
  if (!conversations.includes(conversation)) return; // deleted meanwhile
  conversation.updated = Date.now();
  keep(conversation);
  transcript.update(runs.get(current.id) ?? null);
  refresh();
  if (message.finish === "stopped") announce("Stopped.");
}

// Draws an answer at most once a frame, however fast its tokens come, and saves it now and then.
function draw(run) {
  if (run.drawing) return;
  run.drawing = true;
  requestAnimationFrame(() => {
    run.drawing = false;
    if (runs.get(run.conversation.id) !== run) return;
    if (run.conversation === current) transcript.updateOne(run);
    if (performance.now() - (run.saved ?? 0) < SAVE_EVERY_MS) return;
    run.saved = performance.now();
    keep(run.conversation);
  });
}

function stopCurrent() {
  runs.get(current.id)?.stop();
}

let keyQuestion = null;

// One question, however many requests were refused. Resolves to whether a key was given.
function askKey(hadKey) {
  keyQuestion ??= ask({
    title: "API key", label: "Key", ok: "Use this key", secret: true,
    note: hadKey ? "The server did not accept the key." : "The server asks for a key. It is kept until this tab is closed.",
  }).then((key) => {
    keyQuestion = null;
    if (key) apiKey.set(key);
    return key !== null;
  });
  return keyQuestion;
}

async function findModel() {
  for (;;) {
    try {
      const list = await getJson("v1/models");
      model = String(list.data?.[0]?.id ?? "");
      break;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        if (!(await askKey(apiKey.get() !== null))) return;
      } else {
        await new Promise((resolve) => setTimeout(resolve, 3000));
      }
    }
  }
  refresh();
  if (!current.messages.length) show(current, false);
}

function deleteCurrent() {
  const gone = current;
  stopCurrent();
  store.remove(gone.id);
  conversations = conversations.filter((c) => c !== gone);
  show(store.newConversation());
  toast(`“${gone.title}” is deleted.`, { label: "Undo", run: () => (keep(gone), show(gone)) });
}

async function rename() {
  const renamed = current;
  const title = await ask({ title: "Rename", label: "Name", value: renamed.title, ok: "Rename" });
  if (!title) return;
  Object.assign(renamed, { title: title.slice(0, 200), renamed: true });
  keep(renamed);
  refresh();
}

function exportAs(suffix, type, text) {
  const name = current.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "conversation";
  download(`${name}.${suffix}`, type, text);
}

async function settings() {
  const changed = current;
  const kept = await editSettings(changed.settings);
  if (!kept) return;
  changed.settings = kept;
  store.saveSettings(kept);
  if (changed.messages.length) keep(changed);
}

function initComposer() {
  const prompt = byId("prompt");
  const submit = (event) => {
    event.preventDefault();
    const text = prompt.value;
    if (!text.trim() || runs.has(current.id)) return;
    prompt.value = "";
    fit();
    send(text);
  };
  // The box grows with its text, up to a third of the window.
  const fit = () => {
    prompt.style.height = "auto";
    prompt.style.height = `${Math.min(prompt.scrollHeight, innerHeight / 3)}px`;
  };
  prompt.addEventListener("input", fit);
  prompt.addEventListener("keydown", (event) => {
    if (sends(event)) submit(event);
  });
  byId("composer").addEventListener("submit", submit);
  byId("stop").addEventListener("click", () => (stopCurrent(), prompt.focus()));
}

function initControls() {
  const on = (id, action) => byId(id).addEventListener("click", () => {
    byId("more").open = false;
    action();
  });
  on("new", () => show(store.newConversation()));
  on("rename", rename);
  on("export-text", () => exportAs("md", "text/markdown", store.asMarkdown(current)));
  on("export-json", () => exportAs("json", "application/json", JSON.stringify(current, null, 1)));
  on("delete", deleteCurrent);
  on("open-settings", settings);
  document.addEventListener("click", (event) => {
    if (!byId("more").contains(event.target)) byId("more").open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
    if (byId("more").open) {
      byId("more").open = false;
      byId("more").firstElementChild.focus();
    } else if (!closeDrawer()) {
      stopCurrent();
    }
  });
}

function initTheme() {
  const theme = byId("theme");
  theme.value = document.documentElement.dataset.theme ?? "";
  theme.addEventListener("change", () => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
    try {
      localStorage.setItem(THEME, theme.value);
    } catch {
      // Then the choice lasts until the page is closed.
    }
  });
}

// Another tab has written: take its conversations, but not over what this tab is answering.
store.watch((id) => {
  if (id !== null && runs.has(id)) return;
  const mine = conversations.filter((c) => runs.has(c.id));
  conversations = store.loadAll().map((c) => mine.find((m) => m.id === c.id) ?? c);
  const now = conversations.find((c) => c.id === current.id);
  if (now && now !== current && !runs.has(current.id)) show(now, false);
  else refresh();
});

addEventListener("pagehide", () => {
  for (const run of runs.values()) store.save(run.conversation);
});

const machine = new Machine(byId("machine-body"), byId("state"), isMachineShown);
initPanels(() => machine.poll());
initComposer();
initControls();
initTheme();
let last = null;
try {
  last = sessionStorage.getItem("onecopy.current");
} catch {
  // A new conversation, then.
}
show(conversations.find((c) => c.id === last) ?? current);
findModel();
