import { sources } from '@s3t/kernels';
import { EngineError } from './errors.ts';
import { withHalves } from './half-storage.ts';
import { specialise } from './specialise.ts';

/** The named constants and aliases a kernel is specialised by. */
export type KernelValues = Record<string, number | boolean | string>;

/** One kernel, specialised and compiled. */
export interface Pipeline {
  /** The kernel's name and what it is specialised by. */
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Compiles each kernel once for each set of values it is specialised by. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #pipelines: Map<string, Pipeline> = new Map();
  readonly #fail: (error: EngineError) => void;
  /** Compilations whose outcome is not known yet. */
  readonly #checks: Set<Promise<void>> = new Set();

  constructor(device: GPUDevice, fail: (error: EngineError) => void) {
    this.#device = device;
    this.#fail = fail;
  }

  /** @param halves which of its float bindings are stored as f16 */
  get(name: string, values: KernelValues = {}, unroll = false, halves: readonly number[] = []): Pipeline {
    const key = `${name}|${JSON.stringify(values)}|${unroll}|${halves}`;
    const known = this.#pipelines.get(key);
    if (known) return known;
    const source = sources[name];
    if (source === undefined) throw new EngineError(`no kernel named ${name}`);
    const stored = halves.length > 0 ? withHalves(name, source, halves, values) : source;
    const code = specialise(name, stored, values, { unroll });
    const label = `${name} ${JSON.stringify(values)}${halves.length > 0 ? ` f16 ${halves}` : ''}`;
    this.#device.pushErrorScope('validation');
    const module = this.#device.createShaderModule({ label, code });
    const pipeline = this.#device.createComputePipeline({ label, layout: 'auto', compute: { module } });
    const made = { label, pipeline, layout: pipeline.getBindGroupLayout(0) };
    const check = this.#check(label, code, module, this.#device.popErrorScope());
    this.#checks.add(check);
    check.finally(() => this.#checks.delete(check));
    this.#pipelines.set(key, made);
    return made;
  }

  /** Resolves when every kernel asked for so far is known to compile, or has been reported. */
  async checked(): Promise<void> {
    await Promise.all(this.#checks);
  }

  async #check(
    label: string,
    code: string,
    module: GPUShaderModule,
    outcome: Promise<GPUError | null>,
  ): Promise<void> {
    // A device that is lost meanwhile reports that by itself.
    const error = await outcome.catch(() => null);
    if (!error) return;
    const { messages } = await module.getCompilationInfo().catch(() => ({ messages: [] }));
    const first = messages.find((message) => message.type === 'error');
    this.#fail(
      new EngineError(`kernel ${label} does not compile: ${first ? describe(first, code) : oneLine(error)}`),
    );
  }
}

/** The line is one of the specialised text, where unrolled loops have moved it: its own words say more than its number. */
function describe({ lineNum, message }: GPUCompilationMessage, code: string): string {
  const line = code.split('\n')[lineNum - 1]?.trim() ?? '';
  return `line ${lineNum}: ${message.trim().split('\n')[0]} in \`${line.slice(0, 120)}\``;
}

function oneLine({ message }: GPUError): string {
  return message.split('\n')[0]!;
}
