// The messages of the conversation shown. A view per message: made once, then changed in place while an answer grows.

import { announce, copyText, el, icon, iconButton, setText } from "./dom.js";
import { count, duration, figure, plural } from "./format.js";
import { MarkdownView } from "./markdown.js";

const NEAR_END_PIXELS = 60;

export class Transcript {
  // actions: {edit(message, text), regenerate(message)}
  constructor(root, latest, actions) {
    Object.assign(this, { root, latest, actions, views: [], follow: true });
    root.addEventListener("scroll", () => {
      this.follow = root.scrollHeight - root.scrollTop - root.clientHeight < NEAR_END_PIXELS;
      latest.hidden = this.follow;
    }, { passive: true });
    latest.addEventListener("click", () => this.scrollToEnd());
    root.addEventListener("click", (event) => {
      const copy = event.target.closest("[data-copy]");
      if (copy) copyText(copy.closest(".code").querySelector("code").textContent);
    });
  }

  show(conversation, run, welcome) {
    this.views = conversation.messages.map((message) => (message.role === "user" ? new Prompt(message, this.actions) : new Answer(message, this.actions)));
    this.root.replaceChildren(el("div", { class: "column" }, ...(this.views.length ? this.views.map((v) => v.node) : [welcome])));
    this.update(run);
    this.scrollToEnd();
  }

  // `run`: the answer being made in this conversation, or null.
  update(run) {
    for (const view of this.views) view.update(run?.message === view.message ? run : null, !run && view === this.views.at(-1));
    if (this.follow) this.root.scrollTop = this.root.scrollHeight;
  }

  updateOne(run) {
    this.views.find((view) => view.message === run.message)?.update(run, false);
    if (this.follow) this.root.scrollTop = this.root.scrollHeight;
  }

  scrollToEnd() {
    this.follow = true;
    this.latest.hidden = true;
    this.root.scrollTop = this.root.scrollHeight;
  }
}

class Prompt {
  constructor(message, actions) {
    Object.assign(this, { message, actions });
    this.text = el("div", { class: "text" }, message.content);
    this.buttons = el("div", { class: "actions" },
      iconButton("edit", "Edit and send again", () => this.edit()),
      iconButton("copy", "Copy this message", () => copyText(message.content)));
    this.node = el("article", { class: "prompt" }, el("h2", { class: "unseen" }, "You"), this.text, this.buttons);
  }

  update() {}

  edit() {
    const area = el("textarea", { "aria-label": "Edit the message", rows: "3" });
    area.value = this.message.content;
    const close = () => {
      form.replaceWith(this.text);
      this.buttons.hidden = false;
      this.buttons.firstChild.focus();
    };
    const submit = (event) => {
      event.preventDefault();
      if (area.value.trim()) this.actions.edit(this.message, area.value);
    };
    const form = el("form", { class: "edit", onsubmit: submit }, area,
      el("p", { class: "soft" }, "What follows this message is replaced."),
      el("div", { class: "buttons" }, el("button", { type: "button", class: "plain", onclick: close }, "Cancel"), el("button", { class: "primary" }, "Send")));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      } else if (sends(event)) {
        submit(event);
      }
    });
    this.text.replaceWith(form);
    this.buttons.hidden = true;
    area.focus();
  }
}

// Enter, but not the one that ends the choice of an input method (Japanese, Chinese, Korean).
export const sends = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;

class Answer {
  constructor(message, actions) {
    Object.assign(this, { message, actions, drawnReasoning: null });
    this.summary = el("summary", {}, "Reasoning");
    this.reasoningText = el("div", { class: "text" });
    this.reasoning = el("details", { class: "reasoning", hidden: true }, this.summary, this.reasoningText);
    this.body = el("div", { class: "answer-text" });
    this.markdown = new MarkdownView(this.body);
    this.pending = el("p", { class: "pending soft" }, "Waiting for the first token");
    this.errorText = el("span", { role: "alert" });
    this.countdown = el("span", { class: "countdown" });
    this.retry = el("button", { type: "button", onclick: () => actions.regenerate(message) }, icon("again"), "Try again");
    this.error = el("div", { class: "failure", hidden: true }, this.errorText, this.countdown, this.retry);
    this.stats = el("span", { class: "stats soft" });
    this.again = iconButton("again", "Answer again", () => actions.regenerate(message));
    this.copy = iconButton("copy", "Copy this answer", () => copyText(message.content));
    this.foot = el("div", { class: "actions" }, this.copy, this.again, this.stats);
    this.node = el("article", { class: "answer" }, el("h2", { class: "unseen" }, "Answer"), this.reasoning, this.body, this.pending, this.error, this.foot);
  }

  update(run, isLast) {
    const { message } = this;
    const open = run !== null;
    if (message.reasoning && this.drawnReasoning !== message.reasoning) {
      setText(this.reasoningText, message.reasoning);
      this.drawnReasoning = message.reasoning;
    }
    this.reasoning.hidden = !message.reasoning;
    setText(this.summary, open && !message.content ? "Reasoning …" : "Reasoning");
    const read = this.markdown.update(message.content, open);
    if (this.wasOpen) announce(read);
    this.pending.hidden = !open || Boolean(message.content || message.reasoning || run.waitSeconds);
    this.showError(run);
    setText(this.stats, statsText(message, open));
    this.copy.hidden = open || !message.content;
    this.again.hidden = !isLast || Boolean(message.error);
    this.node.setAttribute("aria-busy", String(open));
    this.wasOpen = open;
  }

  showError(run) {
    const { error } = this.message;
    this.error.hidden = !error;
    if (!error) return;
    setText(this.errorText, error);
    setText(this.countdown, run?.waitSeconds ? `Trying again in ${run.waitSeconds} s.` : "");
    this.retry.hidden = run !== null;
  }
}

function statsText(message, open) {
  const { stats, finish } = message;
  const parts = [];
  const ended = { length: "cut off at max_tokens", stopped: "stopped", content_filter: "filtered" }[finish];
  if (stats) {
    const tokens = stats.tokens ?? stats.pieces;
    if (tokens) parts.push(`${stats.tokens === undefined ? "about " : ""}${plural(tokens, "token")}`);
    // The first token comes with the prompt; the rate is that of those after it.
    if (tokens > 1 && stats.seconds > 0) parts.push(`${figure((tokens - 1) / stats.seconds)} tokens/s`);
    if (!open && stats.first) parts.push(`first after ${duration(stats.first)}`);
    if (stats.promptTokens) parts.push(`prompt ${count(stats.promptTokens)}${stats.cachedTokens ? `, ${count(stats.cachedTokens)} from cache` : ""}`);
  }
  if (ended) parts.unshift(ended);
  return parts.join(" · ");
}
