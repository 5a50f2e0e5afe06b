// The official client of OpenAI against a small run that continues texts; what takes control of time against the stand-in.
import { EventEmitter } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Unlearner } from '@s3t/unlearner';
import OpenAI, { APIError, BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { KeyRing } from '../access.ts';
import { type App, createApp } from '../app.ts';
import { connect } from '../client.ts';
import { listenNode } from '../listen-node.ts';
import type { Listener } from '../listener.ts';
import { gate, post, settle } from '../testing/request.ts';
import { StandIn } from '../testing/stand-in.ts';

const LLAMA = fileURLToPath(new URL('../../../../tools/reference/llama/llama3', import.meta.url));
const TEMPLATE =
  "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %} {% endif %}";

const clientOf = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });

describe('a run that continues texts', () => {
  let folder: string;
  let run: Unlearner;
  let listener: Listener;
  let client: OpenAI;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3t-openai-'));
    await cp(LLAMA, join(folder, 'base'), { recursive: true });
    const settings = { chat_template: TEMPLATE };
    await writeFile(join(folder, 'base/tokenizer_config.json'), JSON.stringify(settings));
    const records = Array.from({ length: 8 }, (_, i) => ({ id: `r${i}`, text: `cat ${i}` }));
    await writeFile(
      join(folder, 'train.jsonl'),
      records.map((record) => `${JSON.stringify(record)}\n`).join(''),
    );
    const config = {
      ...{ base: 'base', task: 'causal-lm', shards: 2, slices: 1, budget: 1 },
      data: { train: 'train.jsonl', eval: 'train.jsonl', id: 'id', text: ['text'], maxLength: 24 },
      lora: { rank: 2, alpha: 2, dropout: 0, targets: ['q_proj'] },
      training: { epochs: 1, batchSize: 4, learningRate: 0.01 },
    };
    await writeFile(join(folder, 's3t.config.json'), JSON.stringify(config));
    run = await Unlearner.open({ run: join(folder, 'run'), config: join(folder, 's3t.config.json') });
    await run.train();
    const app = createApp(run, { modelName: 'cats' });
    listener = await listenNode(app, { port: 0, host: '127.0.0.1', drainMs: 1000 });
    client = clientOf(listener.url);
  });
  afterAll(async () => {
    await listener.close();
    await run.close();
    await rm(folder, { recursive: true, force: true });
  });

  const greedy = { model: 'cats', prompt: 'cat 1', max_tokens: 5, temperature: 0 } as const;

  it('completes whole and as a stream, the same text, with usage and the manifest', async () => {
    const { data, response } = await client.completions.create(greedy).withResponse();
    const { version, manifest } = await run.status();
    expect(response.headers.get('x-s3t-manifest')).toBe(manifest);
    expect(response.headers.get('x-s3t-version')).toBe(String(version));
    expect(data).toMatchObject({ object: 'text_completion', model: 'cats', system_fingerprint: manifest });
    let said = '';
    let promptTokens = 0;
    for await (const piece of run.generate('cat 1', { maxTokens: 5 })) {
      said += piece.text;
      promptTokens = piece.promptTokens;
    }
    expect(data.choices).toEqual([{ index: 0, text: said, logprobs: null, finish_reason: 'length' }]);
    const usage = { prompt_tokens: promptTokens, completion_tokens: 5, total_tokens: promptTokens + 5 };
    expect(data.usage).toEqual(usage);
    const stream = await client.completions.create({
      ...greedy,
      ...{ stream: true, stream_options: { include_usage: true } },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(said);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage });
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe('length');
  });

  it('is continued by our own client, greedily, as far as it fits, or to the token asked for', async () => {
    const own = connect(listener.url);
    const { version, manifest } = await run.status();
    expect(await own.model()).toMatchObject({ id: 'cats', task: 'causal-lm' });
    for (const options of [{}, { maxTokens: 5, temperature: 1, topK: 3, repetitionPenalty: 1.5, seed: 4 }]) {
      let expected = '';
      for await (const { text } of run.generate('cat 1', options)) expected += text;
      for (const prompt of ['cat 1', { text: 'cat 1' }]) {
        let said = '';
        for await (const piece of await own.complete('cats', prompt, options)) {
          said += piece.text;
          expect(piece).toMatchObject({ version, manifest });
        }
        expect(said).toBe(expected);
      }
    }
    await expect(own.complete('cats', { other: 'cat 1' })).rejects.toMatchObject({ status: 400 });
  });

  it('chats by the template of the base, draws equal texts from equal seeds, and stops where it is told', async () => {
    const said = async (seed: number) => {
      let text = '';
      const messages = [{ role: 'user', content: 'cat 2' }];
      for await (const piece of run.generate({ messages }, { maxTokens: 14, temperature: 1, seed }))
        text += piece.text;
      return text;
    };
    // Long enough for a stop string within it.
    let seed = 1;
    while ((await said(seed)).length < 4) seed++;
    const expected = await said(seed);
    const asked = { model: 'cats', seed, max_tokens: 14 } as const;
    const content = [{ type: 'text', text: 'cat 2' }] as const;
    const chat = (stop: string | null) =>
      client.chat.completions.create({ ...asked, stop, messages: [{ role: 'user', content: [...content] }] });
    expect((await chat(null)).choices[0]!.message.content).toBe(expected);
    const stop = expected.slice(1, 3);
    expect((await chat(stop)).choices[0]).toMatchObject({
      message: { content: expected.slice(0, expected.indexOf(stop)) },
      finish_reason: 'stop',
    });
    const messages = [{ role: 'user', content: 'cat 2' } as const];
    const stream = client.chat.completions.stream({ ...asked, messages });
    expect((await stream.finalChatCompletion()).choices[0]!.message.content).toBe(expected);
  });

  it('names what is wrong as OpenAI does', async () => {
    await expect(client.completions.create({ ...greedy, model: 'gpt-4' })).rejects.toThrow(NotFoundError);
    const long = client.completions.create({ ...greedy, prompt: 'a text of far too many tokens for it' });
    await expect(long).rejects.toThrow('more than the capacity of 24');
    const error = await client.completions.create({ ...greedy, n: 2 }).catch((caught) => caught);
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param: 'n', type: 'invalid_request_error' });
  });

  it('cuts a stream off in an erasure, and says so', async () => {
    const stream = await client.completions.create({ ...greedy, max_tokens: 18, stream: true });
    let pieces = 0;
    let receipt: Promise<unknown> | undefined;
    const reading = (async () => {
      for await (const _ of stream) if (pieces++ === 0) receipt = run.erase(['r0']);
    })();
    await expect(reading).rejects.toThrow('what is served changed while the text was continued');
    expect(pieces).toBeLessThan(18);
    await receipt;
  });
});

describe('in time', () => {
  const apps: App[] = [];
  const listeners: Listener[] = [];
  afterAll(async () => {
    for (const listener of listeners) await listener.close();
    for (const app of apps) await app.shutdown();
  });
  const body = { model: 'cats', prompt: 'abc', stream: true };
  function open(options: object = {}): { run: StandIn; app: App } {
    const run = new StandIn();
    const app = createApp(run, { modelName: 'cats', ...options });
    apps.push(app);
    return { run, app };
  }

  it('turns away what is too much, and takes it once there is room', async () => {
    const { run, app } = open({ maxGenerations: 1 });
    const { opened, open: go } = gate();
    run.beforePiece = () => opened;
    const first = post(app, '/v1/completions', { ...body, stream: false });
    await settle();
    const second = await post(app, '/v1/completions', body);
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '1']);
    go();
    expect(await (await first).json()).toMatchObject({ choices: [{ text: 'abc', finish_reason: 'stop' }] });
    expect((await post(app, '/v1/completions', body)).status).toBe(200);
  });

  it('takes texts that are read as one only as long as one may be', async () => {
    const { app } = open();
    const part = (length: number) => ({ type: 'text', text: 'x'.repeat(length) });
    const asked = async (path: string, more: object) => {
      const response = await post(app, path, { model: 'cats', max_tokens: 1, ...more });
      return [response.status, await response.json()];
    };
    for (const [rest, expected] of [
      [0, [200, { object: 'chat.completion' }]],
      [1, [400, { error: { param: 'messages', message: 'expected at most 100000 characters together' } }]],
    ] as const) {
      const parts = [part(60_000), part(40_000 - 1)];
      const inParts = [{ role: 'user', content: [...parts, part(1 + rest)] }];
      const inMessages = [...parts, part(1 + rest)].map(({ text }) => ({ role: 'user', content: text }));
      for (const messages of [inParts, inMessages])
        expect(await asked('/v1/chat/completions', { messages })).toMatchObject(expected);
    }
    const prompt = { one: part(60_000).text, two: part(40_001).text };
    expect(await asked('/v1/completions', { prompt })).toMatchObject([400, { error: { param: 'prompt' } }]);
  });

  it('gives up at its deadline, and answers again what was overtaken before it left', async () => {
    const { run, app } = open({ generationMs: 20 });
    run.beforePiece = () => new Promise(() => {});
    const late = await post(app, '/v1/completions', body);
    expect([late.status, await late.json()]).toMatchObject([503, { error: { code: 'deadline' } }]);
    let moved = false;
    run.beforePiece = () => {
      if (!moved) run.bump('erasure');
      moved = true;
    };
    const whole = await post(app, '/v1/completions', { ...body, stream: false });
    expect(whole.headers.get('x-s3t-version')).toBe(String(run.servedVersion));
  });

  it('gives the place of a stream that nobody reads to another at its deadline', async () => {
    const { app } = open({ maxGenerations: 1, generationMs: 20 });
    const outgoing = Object.assign(new EventEmitter(), { destroyed: false, destroy: vi.fn() });
    const init = { method: 'POST', headers: { 'Content-Type': 'application/json' } };
    const stalled = await app.request(
      '/v1/completions',
      { ...init, body: JSON.stringify(body) },
      { outgoing },
    );
    expect((await post(app, '/v1/completions', body)).status).toBe(429);
    const metrics = async () => (await app.request('/metrics')).text();
    await expect.poll(metrics).toMatch(/s3t_generations 0\n/);
    // And its connection is not kept.
    await expect.poll(() => outgoing.destroy.mock.calls.length).toBe(1);
    expect(await metrics()).toMatch(/s3t_answers_leaving 0\n/);
    expect(await stalled.text()).toContain('"code":"deadline"');
    expect(await metrics()).toMatch(/s3t_generations 0\n/);
    expect((await post(app, '/v1/completions', body)).status).toBe(200);
  });

  it('goes on with what it began with over a publication, but not over an erasure', async () => {
    const { run, app } = open();
    const begun = run.servedVersion;
    let pieces = 0;
    run.beforePiece = () => {
      if (++pieces === 2) run.bump();
    };
    const response = await post(app, '/v1/completions', body);
    expect(response.headers.get('x-s3t-version')).toBe(String(begun));
    expect(await response.text()).toMatch(/"finish_reason":"stop".*\[DONE\]/s);
    expect(run.servedVersion).toBe(begun! + 1);
    pieces = 0;
    run.beforePiece = () => {
      if (++pieces === 2) run.bump('erasure');
    };
    expect(await (await post(app, '/v1/completions', body)).text()).toContain('superseded');
  });

  it('ends an erased stream before the acknowledgement, though its next token never comes', async () => {
    const { run, app } = open();
    let pieces = 0;
    run.beforePiece = () => (pieces++ === 0 ? undefined : new Promise(() => {}));
    const listener = await listenNode(app, { port: 0, host: '127.0.0.1', drainMs: 1000 });
    listeners.push(listener);
    const stream = await clientOf(listener.url).completions.create({ ...body, stream: true });
    const ended = (async () => {
      for await (const _ of stream);
    })().catch((error: unknown) => error);
    await settle(20);
    await post(app, '/v1/erasures', { records: ['train/0'] });
    expect(await ended).toBeInstanceOf(APIError);
    const text = await (await app.request('/metrics')).text();
    expect(text).toMatch(/s3t_generations 0\n/);
  });

  it('ends with the key that asked for it', async () => {
    let isKnown = true;
    const keys: KeyRing = {
      isRequired: async () => true,
      find: async () => (isKnown ? { id: 'key', role: 'inference' } : null),
    };
    const { run, app } = open({ keys });
    let pieces = 0;
    run.beforePiece = () => {
      if (++pieces === 20) isKnown = false;
    };
    const long = { ...body, prompt: 'x'.repeat(500), max_tokens: 400 };
    const response = await post(app, '/v1/completions', long, { Authorization: 'Bearer key' });
    const events = (await response.text()).trimEnd().split('\n\n');
    expect(events.at(-1)).toContain('"code":"wrong-key"');
    expect([events.length, pieces]).toEqual([33, 32]);
  });

  it('stops when nobody reads any more', async () => {
    const { run, app } = open({ maxGenerations: 1 });
    let pieces = 0;
    run.beforePiece = async () => {
      pieces++;
      await settle(1);
    };
    const response = await post(app, '/v1/completions', {
      ...body,
      prompt: 'x'.repeat(500),
      max_tokens: 400,
    });
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await settle(10);
    const after = pieces;
    await settle(20);
    expect(pieces).toBe(after);
    expect(after).toBeLessThan(50);
    expect(await (await app.request('/metrics')).text()).toMatch(/s3t_generations 0\n/);
  });
});
