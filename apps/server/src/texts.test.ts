// A run that tells texts apart, trained here, asked over HTTP in every shape that takes texts.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Unlearner } from '@s3t/unlearner';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from './app.ts';
import { type Client, connect } from './client.ts';
import { listenNode } from './listen-node.ts';
import type { Listener } from './listener.ts';

const BERT = fileURLToPath(new URL('../../../tools/reference/bert', import.meta.url));
const LABELS = ['cats', 'dogs'];
const pairs: [string, string][] = [
  ['the cat sat', 'and slept'],
  ['a dog', 'it barked at the cat'],
];

describe('a run that tells pairs of texts apart', () => {
  let folder: string;
  let run: Unlearner;
  let listener: Listener;
  let client: Client;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3t-texts-'));
    const records = Array.from({ length: 16 }, (_, i) => {
      const label = LABELS[i % 2]!;
      return { id: `r${i}`, one: `the ${label}`, two: `number ${i}`, label };
    });
    const rows = records.map((record) => `${JSON.stringify(record)}\n`).join('');
    await writeFile(join(folder, 'train.jsonl'), rows);
    const config = {
      ...{ base: BERT, task: 'text-classification', shards: 2, slices: 1, budget: 1 },
      data: {
        ...{ train: 'train.jsonl', id: 'id', label: 'label', labels: LABELS },
        ...{ text: ['one', 'two'], maxLength: 16 },
      },
      lora: { rank: 2, alpha: 2, dropout: 0, targets: ['query'] },
      training: { epochs: 1, batchSize: 4, learningRate: 0.01 },
    };
    await writeFile(join(folder, 's3t.config.json'), JSON.stringify(config));
    run = await Unlearner.open({ run: join(folder, 'run'), config: join(folder, 's3t.config.json') });
    await run.train();
    listener = await listenNode(createApp(run, { fullScores: true }), {
      ...{ port: 0, host: '127.0.0.1', drainMs: 1000 },
    });
    client = connect(listener.url);
  });
  afterAll(async () => {
    await listener.close();
    await run.close();
    await rm(folder, { recursive: true, force: true });
  });

  const asked = async (path: string, body: object) => {
    const response = await fetch(`${listener.url}${path}`, {
      ...{ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) },
    });
    return {
      status: response.status,
      body: await response.json(),
      manifest: response.headers.get('x-s3t-manifest'),
    };
  };

  it('answers its own API, TEI and the Open Inference Protocol alike, with what the run answers', async () => {
    const { answers, manifest } = await run.predict(pairs.map((text) => ({ text })));
    const own = await client.predict(pairs.map(([one, two]) => ({ text: { one, two } })));
    expect(own).toMatchObject({ answers, manifest });
    const tei = await asked('/predict', { inputs: pairs });
    expect(tei).toEqual({ status: 200, body: answers, manifest });
    expect((await asked('/predict', { inputs: pairs[0] })).body).toEqual(answers[0]);
    const tensor = { name: 'text', datatype: 'BYTES', shape: [2, 2], data: pairs };
    const { body } = await asked('/v2/models/s3t/infer', { inputs: [tensor] });
    const outputs = Object.fromEntries(
      body.outputs.map((each: { name: string; data: unknown }) => [each.name, each.data]),
    );
    expect(outputs.label).toEqual(answers.map(([best]) => best!.label));
    const byLabel = answers.flatMap((answer) =>
      LABELS.map((label) => answer.find((each) => each.label === label)!.score),
    );
    expect(outputs.scores).toEqual(byLabel);
  });

  it('says which field is wrong', async () => {
    const { status, body } = await asked('/v1/predict', { inputs: [{ text: { one: 'a cat' } }] });
    expect(status).toBe(400);
    expect(body.error).toEqual({ code: 'usage', message: 'must be a text', path: 'inputs.0.text.two' });
    expect(await asked('/predict', { inputs: 7 })).toMatchObject({ status: 400 });
  });

  it('forgets a record, and answers from what is left', async () => {
    const before = await client.status();
    const receipt = await client.erase(['r0']);
    expect(receipt.deactivated).toHaveLength(1);
    const { shard } = receipt.deactivated[0]!;
    const { manifest, answers } = await client.predict(pairs.map((text) => ({ text })));
    expect(manifest).toBe(receipt.after.manifest);
    expect(manifest).not.toBe(before.manifest);
    // Both shards answered before; now only the one that had never seen it.
    const { shards } = await client.status();
    expect(shards.map(({ servedDepth }) => servedDepth)).toEqual(shard === 0 ? [0, 1] : [1, 0]);
    expect(answers).toEqual((await run.predict(pairs.map((text) => ({ text })))).answers);
  });
});
