/**
 * What this machine can do, as one line of JSON on stdout. `s3t doctor` runs it in a process of its own: a graphics driver that does not fit
 * takes the whole process with it. With the argument `kernels` it compares them, too.
 */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { add, Device, tensor } from '@s3t/engine';

/** A WebGPU adapter that computes, or why there is none. */
export type AdapterReport =
  | {
      ok: true;
      class: string;
      name: string;
      features: string[];
      limits: Record<string, number>;
      /** Whether its kernels were compared with float64, all of them rightly. */
      kernelsChecked: boolean;
    }
  | { ok: false; error: string };

/** Whether a package that S3T depends on works here. */
export interface PackageReport {
  ok: boolean;
  version?: string;
  error?: string;
}

export interface ProbeReport {
  adapter: AdapterReport;
  pglite: PackageReport;
  sharp: PackageReport;
}

/** The limits that decide what runs: sizes of buffers and work-groups. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxTextureDimension2D',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
] as const;

async function probeAdapter(checkKernels: boolean): Promise<AdapterReport> {
  try {
    using device = await Device.open();
    const sum = add(tensor(device, [1, 2, 3], [3]), tensor(device, [10, 20, 30], [3]));
    const found = [...(await sum.read())].join();
    if (found !== '11,22,33') return { ok: false, error: `a small sum came out as ${found}` };
    const [wrong] = checkKernels ? await device.selfCheck() : [];
    if (wrong !== undefined) return { ok: false, error: `${device.adapterName} computes wrongly: ${wrong}` };
    const { features, limits } = device.gpu;
    return {
      ok: true,
      class: device.adapterClass,
      name: device.adapterName,
      features: [...features].sort(),
      limits: Object.fromEntries(LIMITS.map((name) => [name, limits[name]])),
      kernelsChecked: checkKernels,
    };
  } catch (error) {
    return { ok: false, error: lineOf(error) };
  }
}

/** Imports a package from where the package of ours that depends on it would. */
async function probePackage(
  owners: readonly string[],
  name: string,
  use: (module: Record<string, unknown>) => Promise<unknown>,
): Promise<PackageReport> {
  try {
    let from = import.meta.url;
    for (const owner of owners) from = pathToFileURL(createRequire(from).resolve(owner)).href;
    const path = createRequire(from).resolve(name);
    const version = await use(await import(pathToFileURL(path).href));
    return { ok: true, ...(typeof version === 'string' && { version }) };
  } catch (error) {
    return { ok: false, error: lineOf(error) };
  }
}

async function startPglite({ PGlite }: Record<string, unknown>): Promise<unknown> {
  const database = await (PGlite as { create(): Promise<Database> }).create();
  const { rows } = await database.query('show server_version');
  await database.close();
  return rows[0]?.server_version;
}

interface Database {
  query(sql: string): Promise<{ rows: Record<string, unknown>[] }>;
  close(): Promise<void>;
}

async function decodePng({ default: sharp }: Record<string, unknown>): Promise<unknown> {
  const use = sharp as Sharp;
  const png = await use({ create: { width: 1, height: 1, channels: 3, background: '#fff' } })
    .png()
    .toBuffer();
  await use(png).raw().toBuffer();
  return use.versions.sharp;
}

interface Sharp {
  (
    input: unknown,
  ): { png(): { toBuffer(): Promise<Uint8Array> }; raw(): { toBuffer(): Promise<Uint8Array> } };
  versions: Record<string, string>;
}

function lineOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ');
}

// One after the other: each may need much memory.
const report: ProbeReport = {
  adapter: await probeAdapter(process.argv[2] === 'kernels'),
  pglite: await probePackage(['@s3t/unlearner', '@s3t/ledger'], '@electric-sql/pglite', startPglite),
  sharp: await probePackage(['@s3t/data'], 'sharp', decodePng),
};
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
