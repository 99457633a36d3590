// Conversations and choices in the browser's localStorage: a key per conversation, so that tabs write only what is theirs.
//
// A conversation: {id, title, renamed, created, updated, settings, messages}; a message: {role, content, reasoning?,
// finish?, error?, stats?}. What is read is checked: another version of this page, or a person, may have written it.

const PREFIX = "onecopy.chat.";
const SETTINGS = "onecopy.settings";
export const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"];

const text = (value) => (typeof value === "string" ? value : "");
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : null);

function newId() {
  // crypto.randomUUID is missing on plain http.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
}

export function cleanSettings(value) {
  const from = object(value) ?? {};
  const settings = { system: text(from.system), reasoning: ["on", "off"].includes(from.reasoning) ? from.reasoning : "" };
  for (const name of NUMBERS) if (typeof from[name] === "number") settings[name] = from[name];
  return settings;
}

function cleanMessage(value) {
  const from = object(value);
  if (!from || !["user", "assistant"].includes(from.role)) return null;
  const message = { role: from.role, content: text(from.content) };
  for (const name of ["reasoning", "finish", "error"]) if (text(from[name])) message[name] = from[name];
  if (object(from.stats)) message.stats = from.stats;
  return message;
}

function cleanConversation(id, value) {
  const from = object(value);
  if (!from || !Array.isArray(from.messages)) return null;
  const time = (t) => (typeof t === "number" ? t : 0);
  return {
    id,
    title: text(from.title).slice(0, 200) || "Conversation",
    renamed: from.renamed === true,
    created: time(from.created),
    updated: time(from.updated),
    settings: cleanSettings(from.settings),
    messages: from.messages.map(cleanMessage).filter((m) => m !== null),
  };
}

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

export function newConversation() {
  const now = Date.now();
  return { id: newId(), title: "New conversation", renamed: false, created: now, updated: now,
           settings: cleanSettings(read(SETTINGS)), messages: [] };
}

// Newest first.
export function loadAll() {
  const all = [];
  try {
    for (let i = 0; i < localStorage.length; ++i) {
      const key = localStorage.key(i);
      if (key.startsWith(PREFIX)) all.push(cleanConversation(key.slice(PREFIX.length), read(key)));
    }
  } catch {
    // Storage is forbidden: nothing is kept, and save() says so.
  }
  return all.filter((c) => c !== null).sort((a, b) => b.updated - a.updated);
}

export const load = (id) => cleanConversation(id, read(PREFIX + id));

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return "";
  } catch (error) {
    return error.name === "QuotaExceededError"
      ? "The browser's storage for this page is full: this conversation is lost when the page closes. Export it, or delete others."
      : "The browser does not let this page keep conversations: this one is lost when the page closes.";
  }
}

// An empty string, or a sentence that says why nothing was kept. Old conversations are never dropped to make room.
export function save(conversation) {
  return write(PREFIX + conversation.id, conversation);
}

export const saveSettings = (settings) => write(SETTINGS, settings);

export function remove(id) {
  try {
    localStorage.removeItem(PREFIX + id);
  } catch {
    // It was never kept.
  }
}

// Calls changed(id) when another tab writes or deletes a conversation.
export function watch(changed) {
  addEventListener("storage", (event) => {
    if (event.key === null) changed(null);
    else if (event.key.startsWith(PREFIX)) changed(event.key.slice(PREFIX.length));
  });
}

export function titleFrom(prompt) {
  const line = prompt.trim().split("\n")[0].trim();
  const chars = Array.from(line);
  return chars.length > 60 ? `${chars.slice(0, 57).join("").trimEnd()}…` : line || "Conversation";
}

export function asMarkdown(conversation) {
  const parts = [`# ${conversation.title}`];
  if (conversation.settings.system) parts.push("## System prompt", conversation.settings.system);
  for (const message of conversation.messages) {
    parts.push(message.role === "user" ? "## You" : "## Answer", message.content);
  }
  return parts.join("\n\n") + "\n";
}
