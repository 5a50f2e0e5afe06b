/**
 * How fast a Llama answers: tokens a second, one text at a time, greedily.
 *
 *     npm run bench:generate -- FILE.gguf [--quantization int8|int4x32|int4x64|f16] [--tokens N] [--stacks N]
 */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { Device, type FrozenType, tensor, uniformValues } from '@s3t/engine';
import {
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
  'usage: npm run bench:generate -- FILE.gguf [--quantization int8|int4x32|int4x64|f16] [--tokens N] [--stacks N]';
const PROMPT = 'Once upon a time, in a town by the sea, there lived';
const TYPES: readonly FrozenType[] = ['int8', 'int4x32', 'int4x64', 'f16'];
const RANK = 16;

interface Options {
  file: string;
  quantization: FrozenType | undefined;
  tokens: number;
  /** Shards that answer together, each with an adapter in the upper half of the layers. 0: the base alone. */
  stacks: number;
}

function readOptions(): Options {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        quantization: { type: 'string' },
        tokens: { type: 'string', default: '64' },
        stacks: { type: 'string', default: '0' },
      },
    });
    const quantization = TYPES.find((type) => type === values.quantization);
    if (values.quantization !== undefined && !quantization)
      throw new Error(`--quantization ${values.quantization} is not one of ${TYPES.join(', ')}`);
    const [tokens, stacks] = [Number(values.tokens), Number(values.stacks)];
    if (!Number.isInteger(tokens) || tokens < 2)
      throw new Error(`--tokens ${values.tokens} is not 2 or more`);
    if (!Number.isInteger(stacks) || stacks < 0) throw new Error(`--stacks ${values.stacks} is not a number`);
    if (positionals.length !== 1) throw new Error('one file is needed');
    return { file: positionals[0]!, quantization, tokens, stacks };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

async function main({ file, quantization, tokens, stacks }: Options): Promise<void> {
  const device = await Device.open();
  const store = await openGguf(await fileSource(file));
  const config = parseLlamaConfig(llamaConfig(store.metadata, new Set(store.names()), file), file);
  const prompt = ggufTokenizer(store.metadata, file).encode(PROMPT).ids;
  const started = performance.now();
  const weights = await loadLlama(device, config, store, { quantization, positions: prompt.length + tokens });
  const loadMs = performance.now() - started;
  await store.close();
  const decoder = new Decoder(
    { device, config, weights },
    stacks > 0
      ? { stacks: Array.from({ length: stacks }, (_, seed) => randomStack(device, config, seed)) }
      : {},
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
  decoder.dispose();
  device.close();
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
