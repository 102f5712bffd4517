// @anthropic-ai/sdk for Node.
import Anthropic from "@anthropic-ai/sdk";

const { model, missing } = asked;
const client = new Anthropic({ baseURL: address, apiKey: "unused" });
const said = (content) => [{ role: "user", content }];
const offered = [
  { name: asked.tool.name, description: asked.tool.description, input_schema: asked.tool.parameters },
];
// What was read from the cache is not among the input tokens.
const used = ({ usage }) => [usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens];
const calls = (answer) =>
  answer.content
    .filter((block) => block.type === "tool_use")
    .map((block) => ({ name: block.name, arguments: block.input, id: block.id }));

export async function models() {
  const ids = [];
  for await (const each of client.models.list()) ids.push(each.id);
  return ids;
}

export async function plain() {
  const answer = await client.messages.create({ model, max_tokens: 200, messages: said(asked.question) });
  return { text: answer.content[0].text, reason: answer.stop_reason, tokens: used(answer) };
}

export async function streamed() {
  const pieces = [];
  const stream = client.messages.stream({ model, max_tokens: 200, messages: said(asked.question) });
  stream.on("text", (delta) => pieces.push(delta));
  const answer = await stream.finalMessage();
  return { pieces, reason: answer.stop_reason, tokens: used(answer) };
}

export async function unknown_model() {
  try {
    await client.messages.create({ model: missing, max_tokens: 20, messages: said("Hi") });
  } catch (error) {
    return { type: error.constructor.name, status: error.status, said: error.message };
  }
}

export async function count_tokens() {
  const counted = await client.messages.countTokens({ model, messages: said(asked.question) });
  const answer = await client.messages.create({ model, max_tokens: 1, messages: said(asked.question) });
  return { counted: counted.input_tokens, used: used(answer)[0] };
}

export async function thinking() {
  const answer = await client.messages.create({
    model,
    max_tokens: 1500,
    thinking: { type: "enabled", budget_tokens: 1024 },
    messages: said(asked.question),
  });
  const find = (type) => answer.content.find((block) => block.type === type);
  return { thought: find("thinking").thinking, text: find("text").text };
}

export async function tools() {
  const answer = await client.messages.create({
    model,
    max_tokens: 200,
    messages: said(asked.tool_question),
    tools: offered,
  });
  return { calls: calls(answer), reason: answer.stop_reason };
}

export async function streamed_tools() {
  let deltas = 0;
  const stream = client.messages.stream({
    model,
    max_tokens: 200,
    messages: said(asked.tool_question),
    tools: offered,
    tool_choice: { type: "any" },
  });
  stream.on("inputJson", () => deltas++);
  const answer = await stream.finalMessage();
  return { calls: calls(answer), reason: answer.stop_reason, deltas };
}
