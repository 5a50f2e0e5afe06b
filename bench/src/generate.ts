/**
 * How fast a Llama answers: tokens a second, greedily, of one text at a time, or of several together.
 *
 *     npm run bench:generate -- FILE.gguf [--quantization int8|int4x32|int4x64|f16] [--tokens N] [--stacks N] [--texts N]
 */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { Device, type FrozenType, tensor, uniformValues } from '@s3t/engine';
import {
  ContinuousBatch,
  Decoder,
  fileSource,
  generate,
  ggufTokenizer,
  LLAMA_TARGETS,
  type LlamaConfig,
  type LoraPair,
  llamaConfig,
  loadLlama,
  openGguf,
  parseLlamaConfig,
} from '@s3t/model';

const USAGE =
  'usage: npm run bench:generate -- FILE.gguf [--quantization int8|int4x32|int4x64|f16] [--tokens N] [--stacks N] [--texts N]';
const PROMPT = 'Once upon a time, in a town by the sea, there lived';
const TYPES: readonly FrozenType[] = ['int8', 'int4x32', 'int4x64', 'f16'];
const RANK = 16;

interface Options {
  file: string;
  quantization: FrozenType | undefined;
  tokens: number;
  /** Shards that answer together, each with an adapter in the upper half of the layers. 0: the base alone. */
  stacks: number;
  /** How many texts go on together, beside the same ones after each other. */
  texts: number;
}

function readOptions(): Options {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        quantization: { type: 'string' },
        tokens: { type: 'string', default: '64' },
        stacks: { type: 'string', default: '0' },
        texts: { type: 'string', default: '1' },
      },
    });
    const quantization = TYPES.find((type) => type === values.quantization);
    if (values.quantization !== undefined && !quantization)
      throw new Error(`--quantization ${values.quantization} is not one of ${TYPES.join(', ')}`);
    const [tokens, stacks] = [Number(values.tokens), Number(values.stacks)];
    if (!Number.isInteger(tokens) || tokens < 2)
      throw new Error(`--tokens ${values.tokens} is not 2 or more`);
    if (!Number.isInteger(stacks) || stacks < 0) throw new Error(`--stacks ${values.stacks} is not a number`);
    const texts = Number(values.texts);
    if (!Number.isInteger(texts) || texts < 1 || texts > 128)
      throw new Error(`--texts ${values.texts} is not in 1..128`);
    if (positionals.length !== 1) throw new Error('one file is needed');
    return { file: positionals[0]!, quantization, tokens, stacks, texts };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

async function main({ file, quantization, tokens, stacks, texts }: Options): Promise<void> {
  const device = await Device.open();
  const store = await openGguf(await fileSource(file));
  const config = parseLlamaConfig(llamaConfig(store.metadata, new Set(store.names()), file), file);
  const prompt = ggufTokenizer(store.metadata, file).encode(PROMPT).ids;
  const started = performance.now();
  const weights = await loadLlama(device, config, store, { quantization, positions: prompt.length + tokens });
  const loadMs = performance.now() - started;
  await store.close();
  const adapters = Array.from({ length: stacks }, (_, seed) => randomStack(device, config, seed));
  const decoder = new Decoder(
    { device, config, weights },
    { slots: texts, ...(stacks > 0 && { stacks: adapters }) },
  );
  // The first text compiles kernels and makes the texture forms of the weights.
  await measure(decoder, prompt, 2);
  const { firstMs, perSecond } = await measure(decoder, prompt, tokens);
  const answer = stacks > 0 ? `${stacks} stacks on ${config.num_hidden_layers / 2} layers` : 'the base alone';
  console.log(`${file}, weights in ${quantization ?? 'f32'}, ${answer}; ${device.adapterName}`);
  console.log(`${cpus().length} cores (${cpus()[0]?.model}), load average ${loadavg()[0]!.toFixed(1)}`);
  console.log(`- loaded in ${(loadMs / 1000).toFixed(1)} s`);
  console.log(`- ${prompt.length} tokens of prompt in ${firstMs.toFixed(0)} ms`);
  console.log(`- ${perSecond.toFixed(2)} tokens/s over ${tokens - 1} tokens`);
  if (texts > 1) await compare(decoder, prompt, texts, tokens);
  decoder.dispose();
  device.close();
}

/** Several texts, drawn with seeds of their own, one after the other and together: they must be the same. */
async function compare(decoder: Decoder, prompt: number[], texts: number, maxTokens: number) {
  const batch = new ContinuousBatch(decoder);
  const read = async (seed: number) => {
    const found: number[] = [];
    const options = { maxTokens, temperature: 1, seed, endTokens: [] };
    for await (const { token } of batch.generate(prompt, options)) found.push(token);
    return found.join();
  };
  const seeds = Array.from({ length: texts }, (_, seed) => seed);
  await Promise.all(seeds.map(read));
  const started = performance.now();
  const alone: string[] = [];
  for (const seed of seeds) alone.push(await read(seed));
  const between = performance.now();
  const together = await Promise.all(seeds.map(read));
  const ended = performance.now();
  if (together.join(';') !== alone.join(';')) throw new Error('texts together are not what they are alone');
  const perSecond = (ms: number) => ((1000 * texts * maxTokens) / ms).toFixed(1);
  const [one, all] = [between - started, ended - between];
  console.log(
    `- ${texts} texts, prompts included: ${perSecond(one)} tokens/s one by one, ${perSecond(all)} together: ${(one / all).toFixed(1)}x, the same tokens`,
  );
}

async function measure(decoder: Decoder, prompt: number[], maxTokens: number) {
  const started = performance.now();
  let first = started;
  let count = 0;
  for await (const _ of generate(decoder, prompt, { maxTokens, endTokens: [] }))
    if (count++ === 0) first = performance.now();
  return { firstMs: first - started, perSecond: (1000 * (count - 1)) / (performance.now() - first) };
}

function randomStack(device: Device, config: LlamaConfig, seed: number) {
  const half = config.num_hidden_layers / 2;
  const layers = Array.from({ length: half }, (_, i) => config.num_hidden_layers - half + i);
  return new Map(
    layers.map((layer) => {
      const put = (rows: number, columns: number, stream: number) =>
        tensor(device, uniformValues(rows * columns, 0.01, [seed, layer], stream), [rows, columns], {
          constant: true,
        });
      const pairs = LLAMA_TARGETS.map(({ name, inputs, outputs }, target): [string, LoraPair] => [
        name,
        { down: put(RANK, inputs(config), 2 * target), up: put(outputs(config), RANK, 2 * target + 1) },
      ]);
      return [layer, { pairs: Object.fromEntries(pairs), scale: 1 }] as const;
    }),
  );
}

await main(readOptions());
