// openai for Node.
import OpenAI from "openai";

const { model, missing } = asked;
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "unused" });
const said = (content) => [{ role: "user", content }];
const offered = [{ type: "function", function: asked.tool }];
const calls = (message) =>
  (message.tool_calls ?? []).map((call) => ({
    name: call.function.name,
    arguments: JSON.parse(call.function.arguments),
    id: call.id,
  }));

export async function models() {
  const ids = [];
  for await (const each of client.models.list()) ids.push(each.id);
  return ids;
}

export async function plain() {
  const { choices, usage } = await client.chat.completions.create({ model, messages: said(asked.question) });
  return {
    text: choices[0].message.content,
    reason: choices[0].finish_reason,
    tokens: [usage.prompt_tokens, usage.completion_tokens],
  };
}

export async function streamed() {
  const pieces = [];
  const stream = client.chat.completions.stream({
    model,
    messages: said(asked.question),
    stream_options: { include_usage: true },
  });
  stream.on("content", (delta) => pieces.push(delta));
  const { choices, usage } = await stream.finalChatCompletion();
  return { pieces, reason: choices[0].finish_reason, tokens: [usage.prompt_tokens, usage.completion_tokens] };
}

export async function unknown_model() {
  try {
    await client.chat.completions.create({ model: missing, messages: said("Hi") });
  } catch (error) {
    return { type: error.constructor.name, status: error.status, code: error.code, said: error.message };
  }
}

export async function embeddings() {
  const { data } = await client.embeddings.create({ model, input: asked.texts });
  return data.map((each) => each.embedding);
}

export async function structured() {
  const form = { type: "json_schema", json_schema: { name: "person", schema: asked.form, strict: true } };
  const asking = { model, messages: said(asked.form_question), response_format: form, max_tokens: 100 };
  return (await client.chat.completions.parse(asking)).choices[0].message.parsed;
}

export async function thinking() {
  const asking = { model, messages: said(asked.question), reasoning_effort: "low" };
  const { message } = (await client.chat.completions.create(asking)).choices[0];
  return { thought: message.reasoning_content, text: message.content };
}

export async function tools() {
  const asking = { model, messages: said(asked.tool_question), tools: offered };
  const { choices } = await client.chat.completions.create(asking);
  return { calls: calls(choices[0].message), reason: choices[0].finish_reason };
}

export async function streamed_tools() {
  let deltas = 0;
  const asking = { model, messages: said(asked.tool_question), tools: offered, tool_choice: "required" };
  const stream = client.chat.completions.stream(asking);
  stream.on("tool_calls.function.arguments.delta", () => deltas++);
  const { choices } = await stream.finalChatCompletion();
  return { calls: calls(choices[0].message), reason: choices[0].finish_reason, deltas };
}

export async function tool_runner() {
  // The client calls the tool and asks again by itself.
  const asking = {
    model,
    messages: said(asked.tool_question),
    tools: [
      {
        type: "function",
        function: { ...asked.tool, parse: JSON.parse, function: () => '{"weather": "rain, 7 degrees"}' },
      },
    ],
  };
  return { text: await client.chat.completions.runTools(asking).finalContent() };
}

export async function responses() {
  const answer = await client.responses.create({ model, input: asked.question });
  return { text: answer.output_text, status: answer.status, id: answer.id };
}

export async function streamed_responses() {
  const pieces = [];
  let last;
  for await (const event of await client.responses.create({ model, input: asked.question, stream: true })) {
    if (event.type === "response.output_text.delta") pieces.push(event.delta);
    last = event;
  }
  return { pieces, reason: last.type };
}
