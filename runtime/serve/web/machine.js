// The live picture of the machine, from GET api/machine: once a second while it is seen, never in a hidden tab.
//
// The model is drawn as one bar, cut where the shards are cut. Every node's card shows which part of that bar it holds.

import { getJson } from "./api.js";
import { el, setText, svg } from "./dom.js";
import { bytes, count, duration, figure, percent, plural } from "./format.js";

const SAMPLES = 90;
const MOST_GAP_MS = 10000; // a curve of the last seconds has no holes
const COLUMNS = [
  ["Rank", (r) => count(r.rank)], ["Host", (r) => String(r.host ?? "")], ["Node", (r) => count(r.node)], ["Threads", (r) => count(r.threads)],
  ["Weights", (r) => bytes(r.weight_bytes)], ["Replicated", (r) => bytes(r.replicated_bytes)], ["KV cache", (r) => bytes(r.kv_bytes)],
  ["State", (r) => bytes(r.state_bytes)], ["On its node", (r) => percent(r.pages_on_node)], ["Waits", (r) => percent(r.wait_share)],
  ["Reads", (r) => `${bytes(r.bytes_per_second)}/s`],
];

const sum = (ranks, field) => ranks.reduce((total, rank) => total + (rank[field] ?? 0), 0);
const memory = (r) => sum([r], "weight_bytes") + sum([r], "replicated_bytes") + sum([r], "kv_bytes") + sum([r], "state_bytes");

export class Machine {
  // isShown(): is the panel on the page now?
  constructor(root, state, isShown) {
    Object.assign(this, { root, state, isShown, timer: 0, asking: false, samples: [], layout: "" });
    document.addEventListener("visibilitychange", () => this.poll());
  }

  // Asks now, and again and again.
  async poll() {
    clearTimeout(this.timer);
    if (document.hidden || !this.isShown() || this.asking) return;
    let seconds = 1;
    this.asking = true;
    try {
      this.show(await getJson("api/machine", AbortSignal.timeout(5000)));
    } catch (error) {
      const said = { 401: "needs the API key", 404: "not shown by this server" }[error.status];
      setText(this.state, said ?? "no answer");
      this.state.dataset.state = "away";
      this.root.classList.add("stale");
      seconds = 3;
    }
    this.asking = false;
    this.timer = setTimeout(() => this.poll(), seconds * 1000);
  }

  show(machine) {
    const ranks = Array.isArray(machine.ranks) ? machine.ranks : [];
    const layout = ranks.map((r) => `${r.host}/${r.node}/${r.rank}`).join();
    if (layout !== this.layout || !this.parts) {
      this.layout = layout;
      this.build(ranks);
    }
    this.root.classList.remove("stale");
    setText(this.state, String(machine.state ?? ""));
    this.state.dataset.state = machine.state;
    const now = performance.now();
    if (now - (this.shownAt ?? 0) > MOST_GAP_MS) this.samples = [];
    this.shownAt = now;
    this.samples = [...this.samples, Number(machine.tokens_per_second) || 0].slice(-SAMPLES);
    this.update(machine, ranks);
  }

  build(ranks) {
    const text = (tag, name) => el(tag, { class: name });
    const parts = { copies: text("strong"), where: text("p", "soft"), speed: text("strong"), prompt: text("strong"), peak: text("span", "soft") };
    parts.segments = ranks.map(() => el("i"));
    parts.area = svg("path", { class: "area" });
    parts.line = svg("path", { class: "line" });
    parts.facts = Object.fromEntries(["Running", "Waiting", "KV cache", "Prefix cache", "Kernels", "Up for"].map((name) => [name, el("dd")]));
    parts.nodes = ranks.map((rank, i) => new NodeCard(rank, parts.segments[i]));
    parts.hosts = new Map();
    for (const [i, rank] of ranks.entries()) {
      const host = String(rank.host ?? "");
      if (!parts.hosts.has(host)) parts.hosts.set(host, { title: el("span", { class: "soft" }), cards: [] });
      parts.hosts.get(host).cards.push(parts.nodes[i]);
    }
    parts.table = el("tbody");
    this.parts = parts;
    const chart = svg("svg", { class: "spark", viewBox: `0 0 ${SAMPLES - 1} 30`, preserveAspectRatio: "none", "aria-hidden": "true" }, parts.area, parts.line);
    const head = el("tr", {}, ...COLUMNS.map(([name]) => el("th", { scope: "col" }, name)));
    const scroll = el("div", { class: "table", tabindex: "0", role: "region", "aria-label": "All figures" }, el("table", {}, el("thead", {}, head), parts.table));
    parts.all = el("details", { class: "all" }, el("summary", {}, "All figures"), scroll);
    parts.all.addEventListener("toggle", () => this.updateTable(this.ranks));
    this.root.replaceChildren(
      el("section", { class: "copies" }, el("p", { class: "big" }, parts.copies, el("span", {}, "copies of the model in memory")),
        el("div", { class: "whole", "aria-hidden": "true" }, ...parts.segments), parts.where),
      el("section", { class: "speed" },
        el("div", {}, el("p", { class: "big" }, parts.speed, el("span", {}, "tokens/s")), el("p", { class: "big minor" }, parts.prompt, el("span", {}, "prompt tokens/s"))),
        el("div", {}, chart, parts.peak)),
      el("dl", { class: "facts" }, ...Object.entries(parts.facts).map(([name, dd]) => el("div", {}, el("dt", {}, name), dd))),
      ...[...parts.hosts].map(([host, { title, cards }]) => el("section", { class: "host" }, el("h3", {}, host || "this host", title),
        el("ul", { class: `nodes ${ranks.length > 8 ? "many" : ranks.length > 4 ? "some" : "few"}` }, ...cards.map((c) => c.node)))),
      el("p", { class: "legend soft" }, "A card shows which part of the model its node holds, its memory, what it reads a second, and the share of time it waits for other nodes."),
      parts.all);
  }

  update(machine, ranks) {
    this.ranks = ranks;
    const { parts } = this;
    const copies = machine.copies_in_memory;
    setText(parts.copies, typeof copies === "number" ? copies.toFixed(2) : "–");
    parts.copies.classList.toggle("wrong", Math.abs(copies - 1) > 0.05);
    setText(parts.where, `${bytes(machine.weight_bytes)} on ${plural(ranks.length, "node")}${parts.hosts.size > 1 ? ` of ${parts.hosts.size} hosts` : ""}`);
    setText(parts.speed, figure(machine.tokens_per_second));
    setText(parts.prompt, figure(machine.prompt_tokens_per_second));
    const facts = {
      Running: count(machine.running), Waiting: count(machine.waiting), Kernels: String(machine.kernels ?? "–"), "Up for": duration(machine.uptime_seconds),
      "KV cache": machine.kv_tokens > 0 ? percent(machine.kv_tokens_used / machine.kv_tokens) : "–", "Prefix cache": plural(machine.cached_tokens, "token"),
    };
    for (const [name, value] of Object.entries(facts)) setText(parts.facts[name], value);
    this.drawSpeed();
    const total = sum(ranks, "weight_bytes") || 1;
    const fastest = Math.max(1, ...ranks.map((r) => r.bytes_per_second ?? 0));
    let start = 0;
    for (const [i, rank] of ranks.entries()) {
      const share = (rank.weight_bytes ?? 0) / total;
      parts.nodes[i].update(rank, start, share, fastest);
      start += share;
    }
    for (const { title, cards } of parts.hosts.values()) {
      setText(title, `${plural(cards.length, "node")} · ${bytes(cards.reduce((n, c) => n + c.memory, 0))}`);
    }
    this.updateTable(ranks);
  }

  drawSpeed() {
    const { samples, parts } = this;
    const most = Math.max(...samples);
    const points = samples.map((v, i) => `${SAMPLES - samples.length + i} ${(29 - 27 * (most ? v / most : 0)).toFixed(2)}`);
    parts.line.setAttribute("d", `M${points.join("L")}`);
    parts.area.setAttribute("d", `M${SAMPLES - samples.length} 30L${points.join("L")}L${SAMPLES - 1} 30z`);
    setText(parts.peak, `${samples.length} s, at most ${figure(most)} tokens/s`);
  }

  updateTable(ranks) {
    if (!this.parts.all.open) return;
    this.parts.table.replaceChildren(...ranks.map((rank) => el("tr", {}, ...COLUMNS.map(([, show]) => el("td", {}, show(rank))))));
  }
}

class NodeCard {
  constructor(rank, segment) {
    this.segment = segment;
    this.slice = el("i");
    this.work = el("i");
    this.size = el("span");
    this.reads = el("span");
    this.waits = el("span");
    this.detail = el("p", { class: "detail soft" });
    this.node = el("li", { class: "node" },
      el("p", { class: "pair" }, el("b", {}, el("span", { class: "word" }, "node "), count(rank.node)), this.size),
      el("div", { class: "slice", "aria-hidden": "true" }, this.slice),
      el("p", { class: "pair" }, this.reads, el("span", { class: "soft" }, el("span", { class: "word" }, "waits "), this.waits)),
      el("div", { class: "work", "aria-hidden": "true" }, this.work), this.detail);
    const light = (on) => () => [this.node, segment].forEach((x) => x.classList.toggle("lit", on));
    for (const part of [this.node, segment]) {
      part.addEventListener("pointerenter", light(true));
      part.addEventListener("pointerleave", light(false));
    }
  }

  // `start`, `share`: the part of the model that it holds, 0 … 1.
  update(rank, start, share, fastest) {
    this.memory = memory(rank);
    const busy = (rank.bytes_per_second ?? 0) / fastest;
    this.segment.style.flexGrow = share;
    this.segment.style.opacity = 0.4 + 0.6 * busy;
    this.slice.style.left = `${100 * start}%`;
    this.slice.style.width = `${100 * share}%`;
    this.work.style.width = `${100 * Math.min(1, Math.max(0, 1 - (rank.wait_share ?? 0)))}%`;
    setText(this.size, bytes(this.memory));
    setText(this.reads, `${bytes(rank.bytes_per_second)}/s`);
    setText(this.waits, `${count(100 * rank.wait_share)} %`);
    setText(this.detail, `rank ${count(rank.rank)}, ${plural(rank.threads, "thread")}: ${percent(share)} of the weights, ${bytes(rank.kv_bytes)} KV cache; ${percent(rank.pages_on_node)} of its pages are on this node`);
  }
}
