import { sources } from '@s3t/kernels';
import { EngineError } from './errors.ts';
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

  constructor(device: GPUDevice, fail: (error: EngineError) => void) {
    this.#device = device;
    this.#fail = fail;
  }

  get(name: string, values: KernelValues = {}, unroll = false): Pipeline {
    const key = `${name}|${JSON.stringify(values)}|${unroll}`;
    const known = this.#pipelines.get(key);
    if (known) return known;
    const source = sources[name];
    if (source === undefined) throw new EngineError(`no kernel named ${name}`);
    const code = specialise(name, source, values, { unroll });
    const label = `${name} ${JSON.stringify(values)}`;
    this.#device.pushErrorScope('validation');
    const module = this.#device.createShaderModule({ label, code });
    const pipeline = this.#device.createComputePipeline({ label, layout: 'auto', compute: { module } });
    this.#device.popErrorScope().then(async (error) => {
      if (!error) return;
      const { messages } = await module.getCompilationInfo();
      const first = messages.find((message) => message.type === 'error');
      const where = first ? `line ${first.lineNum}: ${first.message}` : error.message;
      this.#fail(new EngineError(`kernel ${label} does not compile: ${where}`));
    });
    const made = { label, pipeline, layout: pipeline.getBindGroupLayout(0) };
    this.#pipelines.set(key, made);
    return made;
  }
}
