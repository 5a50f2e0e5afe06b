// The packed engine on Bun, with Dawn from the `webgpu` package.
import { run } from '../pack.mjs';
import { inRuntime, packagedBinary, report, skip } from './report.mjs';

const bun = packagedBinary('@oven', 'bun') ?? skip(`npm has no Bun for ${process.platform}-${process.arch}`);
const name = `Bun ${run(bun, ['--version']).trim()} + Dawn`;
await report(name, { dawn: true }, (folder) => inRuntime(bun, ['run', 'conformance.mjs'], folder));
