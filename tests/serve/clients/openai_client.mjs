// The openai package of Node against a server: URL MODEL as arguments.
import assert from "node:assert";

import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Tell me of a fox." }];
const whole = await client.chat.completions.create({ model, messages, max_tokens: 30, temperature: 0 });
assert(whole.choices[0].message.content);
let said = "";
let usage = null;
const stream = await client.chat.completions.create({
  model, messages, max_tokens: 30, temperature: 0, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  said += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(said, whole.choices[0].message.content);
assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
await assert.rejects(client.chat.completions.create({ model, messages: [] }), OpenAI.BadRequestError);
const abandoned = await client.chat.completions.create({ model, messages, max_tokens: 1500, stream: true, ignore_eos: true });
for await (const _ of abandoned) break;
abandoned.controller.abort();
console.log("openai for Node");
