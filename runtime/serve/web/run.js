// One answer being made: sends the conversation, fills the message as pieces arrive, waits where the server asks for it.

import { ApiError, apiKey, streamChat } from "./api.js";
import { NUMBERS } from "./store.js";

const MOST_RETRIES = 3;
const LONGEST_WAIT_SECONDS = 60;

export class Run {
  // askKey(): resolves to whether a key was given. onChange(): the message has changed.
  constructor(conversation, message, { model, askKey, onChange }) {
    Object.assign(this, { conversation, message, model, askKey, onChange });
    this.controller = new AbortController();
    this.waitSeconds = 0;
  }

  stop() {
    this.controller.abort();
  }

  // Never throws: what goes wrong is a sentence in message.error.
  async finish() {
    const { message } = this;
    try {
      for (let retries = 0; !(await this.attempt(retries)); ++retries);
    } catch (error) {
      if (error.name === "AbortError") message.finish = "stopped";
      else message.error = error instanceof ApiError ? error.message : `This page failed: ${error.message}`;
    }
    this.waitSeconds = 0;
    this.onChange();
  }

  // True when the answer is there, false when it is to be asked for again.
  async attempt(retries) {
    try {
      await this.receive();
      return true;
    } catch (error) {
      const begun = this.message.content || this.message.reasoning;
      if (error.status === 401 && !begun && retries < MOST_RETRIES && (await this.askKey(apiKey.get() !== null))) return false;
      const wait = error.retrySeconds;
      if (![429, 503].includes(error.status) || begun || wait === null || wait > LONGEST_WAIT_SECONDS || retries >= MOST_RETRIES) {
        throw error;
      }
      this.message.error = error.message;
      await this.wait(wait);
      delete this.message.error;
      return false;
    }
  }

  async wait(seconds) {
    const { signal } = this.controller;
    for (this.waitSeconds = Math.max(1, seconds); this.waitSeconds > 0; --this.waitSeconds) {
      this.onChange();
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1000);
        signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
      });
      signal.throwIfAborted();
    }
  }

  async receive() {
    const { message } = this;
    const start = performance.now();
    let first = 0, last = 0, pieces = 0;
    const onDelta = ({ content, reasoning }) => {
      last = performance.now();
      first ||= last;
      message.content += content;
      if (reasoning) message.reasoning = (message.reasoning ?? "") + reasoning;
      ++pieces;
      message.stats = { first: (first - start) / 1000, seconds: (last - first) / 1000, pieces };
      this.onChange();
    };
    const { finish, usage } = await streamChat(this.body(), { signal: this.controller.signal, onDelta });
    message.finish = finish;
    const number = (x) => (typeof x === "number" ? x : undefined);
    message.stats = {
      ...message.stats,
      tokens: number(usage?.completion_tokens),
      promptTokens: number(usage?.prompt_tokens),
      cachedTokens: number(usage?.prompt_tokens_details?.cached_tokens),
    };
  }

  // Reasoning is not sent back: that is how such models are trained, and it would fill the context. Questions whose answer
  // failed become one: many chat templates insist on turns.
  body() {
    const { settings, messages } = this.conversation;
    const sent = [];
    for (const { role, content } of messages.slice(0, messages.indexOf(this.message))) {
      if (role === "user" && sent.at(-1)?.role === "user") sent.at(-1).content += `\n\n${content}`;
      else if (role === "user" || content) sent.push({ role, content });
    }
    if (settings.system) sent.unshift({ role: "system", content: settings.system });
    const body = { model: this.model, messages: sent };
    for (const name of NUMBERS) if (settings[name] !== undefined) body[name] = settings[name];
    if (settings.reasoning) body.chat_template_kwargs = { enable_thinking: settings.reasoning === "on" };
    return body;
  }
}
