// The packed engine on Node, with Dawn from the `webgpu` package.
import { node } from '../pack.mjs';
import { inRuntime, report } from './report.mjs';

const name = `Node ${process.versions.node} + Dawn`;
await report(name, { dawn: true }, (folder) => inRuntime(node, ['conformance.mjs'], folder));
