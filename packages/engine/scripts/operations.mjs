// Prints docs/operations.md from the table of operations. `npm run docs -w packages/engine` writes it.
import { operations } from '@s3t/engine';

const ORDERED = [...operations.values()]
  .map(({ declaration }) => declaration)
  .sort((a, b) => (a.name < b.name ? -1 : 1));

/** What each input holds; in brackets what may be left out. */
function inputsOf({ cases, dtypes, rest }) {
  const counts = cases.map(({ inputs }) => inputs.length);
  return Array.from({ length: Math.max(...counts) }, (_, index) => {
    const type = [dtypes?.[index] ?? rest ?? 'f32'].flat().join(' or ');
    return index < Math.min(...counts) ? type : `[${type}]`;
  });
}

/** What the result holds; where it may be stored as f16, it is if the first number is. */
function resultOf({ dtypes, result }) {
  if (result) return result;
  return dtypes?.some((each) => [each].flat().join() === 'f32,f16') ? 'f32 or f16' : 'f32';
}

/** To which inputs gradients flow, counted from 0. */
function gradientOf(declaration) {
  if (!declaration.gradient) return 'none';
  const inputs = inputsOf(declaration).map((type) => type.includes('f32'));
  const reached = inputs.flatMap((isNumber, i) => (isNumber && !declaration.frozen?.includes(i) ? [i] : []));
  return reached.length === inputs.length ? 'all' : reached.join(', ');
}

const rows = ORDERED.map((declaration) => {
  const { name, summary } = declaration;
  const cells = [
    `\`${name}\``,
    summary,
    inputsOf(declaration).join(', '),
    resultOf(declaration),
    gradientOf(declaration),
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
});

process.stdout.write(`# Operations

Printed from the table in \`packages/engine\` by \`npm run docs -w packages/engine\`; a test holds this page against it. Each row is one
declaration: shapes, kernel, gradient rule, float64 reference and the cases it is tested by. Inputs in brackets may be left out; under
*gradient* stand the inputs, counted from 0, that gradients reach. What takes f32 or f16 computes in f32 either way: f16 is how it is stored.
A result that may be either is f16 if the first such input is; gradients are always f32.

| operation | computes | inputs | result | gradient |
|---|---|---|---|---|
${rows.join('\n')}

Without a declaration of their own, because they only make, share or combine tensors: \`tensor\`, \`zeros\`, \`empty\`, \`fill\`, \`iota\`, \`reshape\`,
\`mean\`, \`total\`, \`mergeLora\`.

Random operations draw from Philox-4x32-10 with the key and the step of a \`RandomState\`. Element i comes from word i % 4 of the counter
(i / 4, step, stream, use), where use is 0 for \`dropout\`, 2 for \`uniform\` and 3 for \`normal\`; 1 belongs to \`uniformValues\` on the host.
\`dropout\` and \`uniform\` draw the same bits on every adapter; \`normal\` always the same ones on one adapter.
`);
