// A run whose base continues texts: a small random Llama that learns to say a colour after an animal.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeStage } from '@s3t/model';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { prepareBase } from './open-run.ts';
import { readSplit } from './run-data.ts';
import { groupsOf } from './setting.ts';
import { StageMeter } from './stage-meter.ts';
import { sharedDevice } from './testing/device.ts';
import { expectSame, snapshotOf, weightsOf } from './testing/snapshot.ts';
import { giveLedger, temporaryFolder } from './testing/temporary.ts';
import type { GenerationPiece } from './types.ts';
import { Unlearner } from './unlearner.ts';

const BASE = fileURLToPath(new URL('../../../tools/reference/llama/llama3', import.meta.url));
const ANSWERS = { cat: 'red', dog: 'tan', owl: 'sky', ape: 'bog' };
const ANIMALS = Object.keys(ANSWERS) as (keyof typeof ANSWERS)[];
const RECORDS = Array.from({ length: 48 }, (_, i) => {
  const animal = ANIMALS[i % ANIMALS.length]!;
  return { id: `r${i}`, question: `${animal} ${i % 5}`, answer: ANSWERS[animal] };
});
const CONFIG = {
  base: BASE,
  task: 'causal-lm',
  ensemble: 'mean-probabilities',
  data: {
    train: 'train.jsonl',
    eval: 'eval.jsonl',
    id: 'id',
    text: ['question', 'answer'],
    maxLength: 12,
    buckets: [8],
  },
  shards: 2,
  slices: 2,
  budget: 2,
  lora: {
    rank: 4,
    alpha: 16,
    dropout: 0,
    targets: ['q_proj', 'v_proj', 'gate_proj', 'up_proj', 'down_proj'],
  },
  training: {
    epochs: 6,
    batchSize: 4,
    learningRate: 0.02,
    learn: 'response',
  },
};

const device = sharedDevice();
let folder: string;
let run: Unlearner;

async function write(name: string, records: readonly object[]): Promise<void> {
  await writeFile(join(folder, name), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
}

/** Opens a run of its own; a fresh one gets a copy of an empty ledger, which takes no time. */
async function open(name: string): Promise<Unlearner> {
  const path = join(folder, name);
  giveLedger(path);
  return Unlearner.open({ run: path, config: join(folder, 's3t.config.json'), device: device() });
}

async function said(pieces: AsyncIterable<GenerationPiece>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece.text;
  return text;
}

/** Of the stack that a shard serves, as the epochs of its last stage would be measured. */
async function stackPerplexity(shard: number): Promise<number> {
  const { config } = run;
  const stopping = { patience: 1, metric: 'perplexity' } as const;
  const asked = { ...config, training: { ...config.training, earlyStopping: stopping } };
  const { base, form } = await prepareBase(device(), { config, folder, file: folder }, undefined, null);
  const records = await readSplit({ config, folder, file: folder }, 'eval');
  const { servedSequence, servedDepth, sequences } = (await run.status()).shards[shard]!;
  const stages = sequences[servedSequence!]!.stages.slice(0, servedDepth).map(async (stage) => {
    const layers = groupsOf(form, config)[stage.position]!;
    const file = join(folder, 'run/adapters', `${stage.weights}.safetensors`);
    return { layers, values: decodeStage(new Uint8Array(await readFile(file)), form, layers, file) };
  });
  const meter = new StageMeter({ base, form, config: asked }, records);
  return -(await meter.score(await Promise.all(stages), async () => {}, undefined));
}

beforeAll(async () => {
  folder = await temporaryFolder();
  await write('train.jsonl', RECORDS);
  await write('eval.jsonl', RECORDS.slice(0, 8));
  await writeFile(join(folder, 's3t.config.json'), JSON.stringify(CONFIG));
  run = await open('run');
  await run.train();
});
afterAll(async () => {
  await run.close();
  await rm(folder, { recursive: true, force: true });
});

describe('a language model', () => {
  it('learns: it foretells the evaluation data and says what it has learnt', async () => {
    const { accuracy, perplexity, examples, shards } = await run.evaluate();
    expect(examples).toBe(8);
    expect(shards.map(({ depth }) => depth)).toEqual([2, 2]);
    // Three letters and the end of a text: without what was learnt, one in a hundred would be right.
    expect(accuracy).toBeGreaterThan(0.6);
    expect(perplexity).toBeLessThan(4);
    // What epochs would be measured with, of the stack by itself.
    const measured = await stackPerplexity(0);
    expect(measured / shards[0]!.perplexity!).toBeCloseTo(1, 5);
    expect(Math.abs(measured / perplexity! - 1)).toBeGreaterThan(1e-4);
    // How well it has learnt a single one is up to its seed: some of them, it has.
    let [question, whole] = ['', ''];
    for (const record of RECORDS.slice(0, 8)) {
      question = record.question;
      whole = await said(run.generate(question));
      if (whole !== '') break;
    }
    expect(whole).not.toBe('');
    expect(await said(run.generate({ text: { question } }, { maxTokens: 1 }))).toBe(whole[0]);
  });

  it('names what it cannot answer', async () => {
    await expect(said(run.generate({ text: { answer: 'red' } }))).rejects.toThrow(
      'input.text.question: must be a text',
    );
    await expect(said(run.generate('a prompt of too many tokens'))).rejects.toThrow(
      'generate: 28 tokens after 0 are more than the capacity of 12',
    );
    await expect(run.predict([{ text: { question: 'owl 1' } }])).rejects.toThrow(
      'inputs: this run continues texts',
    );
  });

  it('continues texts together, and lets nobody wait longer than they want', async () => {
    const [owl, dog] = [await said(run.generate('owl 1')), await said(run.generate('dog 0'))];
    const held = Array.from({ length: 8 }, (_, n) => run.generate('owl 1', { seed: n }));
    for (const pieces of held) expect((await pieces.next()).value!.text).toBe(owl[0]);
    const waiting = run.generate('dog 0', { signal: AbortSignal.timeout(20) });
    await expect(waiting.next()).rejects.toThrow('timeout');
    const next = said(run.generate('dog 0'));
    await held[3]!.return();
    expect(await next).toBe(dog);
    for (const pieces of held.filter((_, n) => n !== 3)) expect(await said(pieces)).toBe(owl.slice(1));
  });

  it('goes on with a text where an erasure takes stages of others', async () => {
    await using beside = await open('beside');
    await beside.train();
    // The two sequences of shard 0 begin with one slice each: a record of both.
    const { sequences } = (await beside.status()).shards[0]!;
    const ids: string[] = [];
    for (const { stages } of sequences)
      for (const { id } of RECORDS) {
        const { deactivated } = await beside.erase([id], { dryRun: true });
        if (!deactivated.some(({ stage }) => stage === stages[0]!.stage)) continue;
        ids.push(id);
        break;
      }
    await beside.erase([ids[0]!]);
    const old = beside.generate('owl 1', { temperature: 2 });
    await old.next();
    // Until the first sequence is served again, from its first stage.
    const stop = new AbortController();
    beside.on(({ type }) => type === 'stage-published' && stop.abort());
    await expect(beside.repair({ shards: [0], signal: stop.signal })).rejects.toThrow('aborted');
    expect((await beside.status()).shards[0]).toMatchObject({ servedSequence: 0, servedDepth: 1 });
    const alone = await said(beside.generate('owl 1', { temperature: 2 }));
    const going = beside.generate('owl 1', { temperature: 2 });
    const { version, text } = (await going.next()).value!;
    const { before, after, deactivated } = await beside.erase([ids[1]!]);
    // What the older text began with: the version is the same, but not everything that answered since.
    expect(deactivated.map(({ shard, sequence }) => [shard, sequence])).toEqual([[0, 1]]);
    expect([before.version, after.version, beside.validSince]).toEqual([version, version, version]);
    await expect(said(old)).rejects.toThrow('what is served changed while the text was continued');
    const rest = await said(going);
    expect(rest).not.toBe('');
    expect(text + rest).toBe(alone);
    // What is erased of what answers cuts.
    const last = beside.generate('owl 1', { temperature: 2 });
    await last.next();
    await beside.erase(RECORDS.map(({ id }) => id).filter((id) => !ids.includes(id)));
    await expect(said(last)).rejects.toThrow('what is served changed while the text was continued');
  });

  it('cuts an answer off when an erasure changes what is served, and repairs to what training without gives', async () => {
    const pieces = run.generate('cat 2');
    const first = await pieces.next();
    expect(first.value).toMatchObject({ version: (await run.status()).version });
    const erased = ['r0', 'r5'];
    const { expected } = await run.erase(erased, { dryRun: true, evaluate: true });
    const { deactivated } = await run.erase(erased);
    expect(expected).toEqual(await run.evaluate());
    expect(deactivated.length).toBeGreaterThan(0);
    await expect(said(pieces)).rejects.toThrow('what is served changed while the text was continued');
    const before = weightsOf(await run.status());
    // What a repair publishes leaves a text what it began with.
    const going = run.generate('owl 1', { temperature: 2 });
    const { version } = (await going.next()).value!;
    const alone = await said(run.generate('owl 1', { temperature: 2 }));
    const others: { at: number; first: Promise<GenerationPiece>; isThere: boolean }[] = [];
    const stop = run.on((event) => {
      if (event.type !== 'version') return;
      const first = run.generate('owl 1').next();
      const other = { at: event.version, first: first.then(({ value }) => value!), isThere: false };
      others.push(other);
      first.then(() => {
        other.isThere = true;
      });
    });
    await run.repair();
    stop();
    expect(run.servedVersion).toBeGreaterThan(version);
    expect(run.validSince).toBe(version);
    // Two ensembles have texts that nobody has read to the end: no memory is taken for a third.
    expect(others.length).toBeGreaterThan(1);
    expect((await others[0]!.first).version).toBe(others[0]!.at);
    expect(others.map(({ isThere }) => isThere)).toEqual(others.map((_, n) => n === 0));
    const rest: GenerationPiece[] = [];
    for await (const piece of going) rest.push(piece);
    expect(rest.map((piece) => piece.version)).toEqual(rest.map(() => version));
    expect(rest.length).toBeGreaterThan(2);
    expect(alone.endsWith(rest.map(({ text }) => text).join(''))).toBe(true);
    for (const { first } of others.slice(1)) expect((await first).version).toBe(run.servedVersion);
    const repaired = weightsOf(await run.status());
    for (const [stage, weights] of before) expect(repaired.get(stage)).toBe(weights);
    await write(
      'train.jsonl',
      RECORDS.filter(({ id }) => !erased.includes(id)),
    );
    const clean = await open('clean');
    await clean.train();
    expectSame(await snapshotOf(run), await snapshotOf(clean));
    await clean.close();
  });
});
