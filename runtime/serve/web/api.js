// The server's API as this page uses it: requests, server-sent events, and failures as sentences.
// Formats: OpenAI's chat completions (streaming), server-sent events of the HTML standard, Retry-After of RFC 9110.

const KEY = "onecopy.key";
const MOST_EVENT_CHARS = 8 << 20;

// `retrySeconds`: what the server asked to wait, or null. `status` 0: no answer at all.
export class ApiError extends Error {
  constructor(message, { status = 0, retrySeconds = null } = {}) {
    super(message);
    this.status = status;
    this.retrySeconds = retrySeconds;
  }
}

// The key lasts as long as the tab: a shared computer keeps nothing. A header takes only ASCII.
let tabKey = null;

export const apiKey = {
  get() {
    try {
      tabKey ??= sessionStorage.getItem(KEY);
    } catch {
      // Storage is forbidden: the key lasts until the page is left.
    }
    return tabKey;
  },
  set(key) {
    tabKey = key.replace(/[^\x21-\x7e]/g, "");
    try {
      sessionStorage.setItem(KEY, tabKey);
    } catch {
      // As above.
    }
  },
};

// Paths are relative to the page, so that a proxy may serve it under a prefix.
async function request(path, options = {}) {
  const key = apiKey.get();
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached; the network is down, or the server has ended.");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export async function getJson(path, signal) {
  const response = await request(path, { signal });
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(`The server's answer to ${path} is not JSON.`, { status: response.status });
  }
}

async function failure(response) {
  let said = "";
  try {
    said = messageOf(await response.json());
  } catch {
    // A proxy's error page; the status has to do.
  }
  const status = response.status;
  return new ApiError(said || defaultSentence(status), { status, retrySeconds: retrySeconds(response.headers.get("Retry-After")) });
}

function defaultSentence(status) {
  if (status === 401 || status === 403) return "The server did not accept the API key.";
  if (status === 413) return "The conversation is longer than the server takes.";
  if (status === 429) return "The server has as many requests as it takes.";
  if (status === 503) return "The server is not ready.";
  return `The server answered with status ${status}.`;
}

function messageOf(body) {
  const said = body?.error?.message ?? body?.message;
  return typeof said === "string" ? sentence(said.trim().slice(0, 600)) : "";
}

const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

// Seconds, or an HTTP date.
function retrySeconds(header) {
  if (!header) return null;
  if (/^\s*\d{1,9}\s*$/.test(header)) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - Date.now()) / 1000));
}

// Yields the data of each event. An event ends at an empty line; comments (keep-alives) and other fields are passed over.
export async function* serverEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (pending + value).split("\n");
    pending = lines.pop();
    if (pending.length > MOST_EVENT_CHARS) {
      reader.cancel().catch(() => {});
      throw new ApiError("The server sent an event without an end.");
    }
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "" && data.length) {
        yield data.join("\n");
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  }
}

// Runs one completion. onDelta({content, reasoning}) for each piece; resolves to {finish, usage}. Throws ApiError, or
// AbortError where `signal` ended it. An answer that breaks off without a finish reason is an error, never a success.
export async function streamChat(body, { signal, onDelta }) {
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  let finish = null;
  let usage = null;
  try {
    for await (const data of serverEvents(response.body)) {
      if (data === "[DONE]") break;
      const chunk = parseChunk(data);
      if (chunk.usage) usage = chunk.usage;
      const choice = chunk.choices?.[0];
      if (!choice) continue;
      finish = choice.finish_reason ?? finish;
      const text = (x) => (typeof x === "string" ? x : "");
      const delta = { content: text(choice.delta?.content), reasoning: text(choice.delta?.reasoning_content) };
      if (delta.content || delta.reasoning) onDelta(delta);
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiError) throw error;
    throw new ApiError("The connection broke off during the answer.");
  }
  if (finish === null) throw new ApiError("The answer broke off before its end.");
  return { finish, usage };
}

function parseChunk(data) {
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new ApiError("The server sent an event that is not JSON.");
  }
  if (chunk?.error) throw new ApiError(messageOf(chunk) || "The server reported an error during the answer.", { status: 500 });
  return chunk ?? {};
}
