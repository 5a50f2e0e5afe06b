import { sources } from '@s3t/kernels';
import { EngineError } from './errors.ts';
import { withHalves } from './half-storage.ts';
import { specialise } from './specialise.ts';
import { inTurns } from './turns.ts';

/** The named constants and aliases a kernel is specialised by. */
export type KernelValues = Record<string, number | boolean | string>;

/** What a kernel's text becomes. */
export interface Specialisation {
  values?: KernelValues;
  unroll?: boolean;
  /** Which of its float bindings are stored as f16. */
  halves?: readonly number[];
  /** How many items an invocation takes, see turns.ts. */
  turns?: number;
}

/** One kernel, specialised; compiled when it is first used, or before. */
export class Pipeline {
  /** The kernel's name and what it is specialised by. */
  readonly label: string;
  readonly #code: string;
  readonly #device: GPUDevice;
  readonly #report: (check: Promise<void>) => void;
  readonly #fail: (error: EngineError) => void;
  #compiled: { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout } | null = null;

  /** @param parts.report given what resolves once it is known whether it compiles @param parts.fail told where it does not */
  constructor(
    label: string,
    code: string,
    parts: { device: GPUDevice; report: (check: Promise<void>) => void; fail: (error: EngineError) => void },
  ) {
    this.label = label;
    this.#code = code;
    this.#device = parts.device;
    this.#report = parts.report;
    this.#fail = parts.fail;
  }

  get pipeline(): GPUComputePipeline {
    return (this.#compiled ?? this.#compile()).pipeline;
  }

  get layout(): GPUBindGroupLayout {
    return (this.#compiled ?? this.#compile()).layout;
  }

  /** Compiles it in a thread of the runtime. Whether it compiles is told when it is used. */
  async compileAside(): Promise<void> {
    if (this.#compiled) return;
    const device = this.#device;
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ label: this.label, code: this.#code });
    void device.popErrorScope().catch(() => {});
    const pipeline = await device.createComputePipelineAsync(this.#descriptor(module)).catch(() => null);
    if (pipeline) this.#compiled ??= { pipeline, layout: pipeline.getBindGroupLayout(0) };
  }

  #compile(): { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout } {
    const device = this.#device;
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ label: this.label, code: this.#code });
    const pipeline = device.createComputePipeline(this.#descriptor(module));
    this.#compiled = { pipeline, layout: pipeline.getBindGroupLayout(0) };
    this.#report(this.#check(module, device.popErrorScope()));
    return this.#compiled;
  }

  #descriptor(module: GPUShaderModule): GPUComputePipelineDescriptor {
    return { label: this.label, layout: 'auto', compute: { module } };
  }

  async #check(module: GPUShaderModule, outcome: Promise<GPUError | null>): Promise<void> {
    // A device that is lost meanwhile reports that by itself.
    const error = await outcome.catch(() => null);
    if (!error) return;
    const { messages } = await module.getCompilationInfo().catch(() => ({ messages: [] }));
    const first = messages.find((message) => message.type === 'error');
    const what = first ? describe(first, this.#code) : oneLine(error);
    this.#fail(new EngineError(`kernel ${this.label} does not compile: ${what}`));
  }
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

  get(name: string, { values = {}, unroll = false, halves = [], turns = 1 }: Specialisation): Pipeline {
    const key = `${name}|${JSON.stringify(values)}|${unroll}|${halves}|${turns}`;
    const known = this.#pipelines.get(key);
    if (known) return known;
    const source = sources[name];
    if (source === undefined) throw new EngineError(`no kernel named ${name}`);
    const stored = halves.length > 0 ? withHalves(name, source, halves, values) : source;
    const code = specialise(name, inTurns(stored, turns), values, { unroll });
    const stores = halves.length > 0 ? ` f16 ${halves}` : '';
    const label = `${name} ${JSON.stringify(values)}${stores}${turns > 1 ? ` in ${turns} turns` : ''}`;
    const report = (check: Promise<void>) => {
      this.#checks.add(check);
      check.finally(() => this.#checks.delete(check));
    };
    const made = new Pipeline(label, code, { device: this.#device, report, fail: this.#fail });
    this.#pipelines.set(key, made);
    return made;
  }

  /** Resolves when every kernel asked for so far is known to compile, or has been reported. */
  async checked(): Promise<void> {
    await Promise.all(this.#checks);
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
