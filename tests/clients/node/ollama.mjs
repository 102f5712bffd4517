// ollama for Node.
import { Ollama } from "ollama";

const { model, missing } = asked;
const client = new Ollama({ host: address });
const said = (content) => [{ role: "user", content }];
const offered = [{ type: "function", function: asked.tool }];
const calls = (message) => (message.tool_calls ?? []).map((call) => ({ ...call.function }));

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

export async function models() {
  return (await client.list()).models.map((each) => each.name);
}

export async function plain() {
  const answer = await client.chat({ model, messages: said(asked.question) });
  return {
    text: answer.message.content,
    reason: answer.done_reason,
    tokens: [answer.prompt_eval_count, answer.eval_count],
  };
}

export async function streamed() {
  const parts = await all(await client.chat({ model, messages: said(asked.question), stream: true }));
  const last = parts.at(-1);
  return {
    pieces: parts.map((part) => part.message.content),
    reason: last.done_reason,
    tokens: [last.prompt_eval_count, last.eval_count],
  };
}

export async function generated() {
  const parts = await all(await client.generate({ model, prompt: asked.question, stream: true }));
  return { pieces: parts.map((part) => part.response), reason: parts.at(-1).done_reason };
}

export async function unknown_model() {
  try {
    await client.chat({ model: missing, messages: said("Hi") });
  } catch (error) {
    return { type: error.name, status: error.status_code, said: error.message };
  }
}

export async function embeddings() {
  return (await client.embed({ model, input: asked.texts })).embeddings;
}

export async function structured() {
  const asking = { model, messages: said(asked.form_question), format: asked.form, options: { num_predict: 100 } };
  return JSON.parse((await client.chat(asking)).message.content);
}

export async function thinking() {
  const { message } = await client.chat({ model, messages: said(asked.question), think: true });
  return { thought: message.thinking, text: message.content };
}

export async function tools() {
  return { calls: calls((await client.chat({ model, messages: said(asked.tool_question), tools: offered })).message) };
}

export async function streamed_tools() {
  const asking = { model, messages: said(asked.tool_question), tools: offered, stream: true };
  return { calls: (await all(await client.chat(asking))).flatMap((part) => calls(part.message)) };
}

export async function shown() {
  const answer = await client.show({ model });
  return { capabilities: answer.capabilities, architecture: answer.model_info["general.architecture"] };
}

export async function aborted() {
  // A stream that would go on for long is left after its first part; the client says so by an error of its own.
  const options = { num_predict: 2000 };
  const stream = await client.generate({ model, prompt: "import os\n", raw: true, stream: true, options });
  try {
    for await (const _ of stream) stream.abort();
  } catch (error) {
    return { type: error.name };
  }
}
