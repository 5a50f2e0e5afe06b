import { availableParallelism, totalmem } from 'node:os';
import type { AdapterReport, PackageReport, ProbeReport } from './probe.ts';

const NODE_MAJOR = 24;

/** Something that does not work, and how to get it. */
export interface Problem {
  what: string;
  help: string;
  /** Whether nothing works without it. */
  needed: boolean;
}

/** What `s3t doctor --json` prints. */
export interface DoctorReport {
  /** Whether everything that is needed works. */
  ok: boolean;
  node: { version: string; ok: boolean };
  platform: string;
  cores: number;
  memoryBytes: number;
  adapter: AdapterReport;
  pglite: PackageReport;
  sharp: PackageReport;
  problems: Problem[];
}

/** Judges what was found. */
export function diagnose(probe: ProbeReport, nodeVersion: string = process.version): DoctorReport {
  const node = { version: nodeVersion.slice(1), ok: Number.parseInt(nodeVersion.slice(1), 10) >= NODE_MAJOR };
  const problems: Problem[] = [];
  if (!node.ok) {
    const help = `install Node ${NODE_MAJOR} or newer from https://nodejs.org`;
    problems.push({ what: `Node ${node.version} is too old`, help, needed: true });
  }
  if (!probe.adapter.ok) problems.push({ what: probe.adapter.error, help: adapterHelp(), needed: true });
  if (!probe.pglite.ok) {
    const help =
      'install the dependencies again (npm ci); a run can also keep its ledger in "store": "postgres://..."';
    problems.push({ what: `PGlite does not start: ${probe.pglite.error}`, help, needed: true });
  }
  if (!probe.sharp.ok) {
    const help = 'npm install sharp; only image files (PNG, JPEG, WebP, GIF) need it';
    problems.push({ what: `sharp does not work: ${probe.sharp.error}`, help, needed: false });
  }
  return {
    ok: !problems.some(({ needed }) => needed),
    node,
    platform: `${process.platform} ${process.arch}`,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    ...probe,
    problems,
  };
}

function adapterHelp(): string {
  if (process.platform !== 'linux') return 'update the system and its graphics driver';
  return 'in the checkout run `npm run setup`, which needs no root; or install a Vulkan driver: that of the GPU, or Mesa 24 or newer (Debian, Ubuntu: apt-get install mesa-vulkan-drivers libvulkan1)';
}
