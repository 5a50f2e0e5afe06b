// A JSON Schema as a sketch of the JSON it describes, with types for values and remarks behind them.

// biome-ignore lint/suspicious/noExplicitAny: a JSON Schema
type Schema = any;

export function outline(schema: Schema, indent = ''): string {
  const inner = `${indent}  `;
  const either = schema.anyOf ?? schema.oneOf;
  if (either !== undefined) return either.map((one: Schema) => outline(one, indent)).join(' | ');
  if (schema.enum !== undefined) return schema.enum.map((one: unknown) => JSON.stringify(one)).join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === 'array') return `[${outline(schema.items ?? {}, indent)}, …]`;
  if (schema.type === 'object' && schema.properties !== undefined) {
    const lines = Object.entries(schema.properties).map(([name, property]) =>
      field(name, property, schema, inner),
    );
    return `{\n${lines.join('\n')}\n${indent}}`;
  }
  if (schema.type === 'object') return `{ name: ${outline(schema.additionalProperties ?? {}, indent)}, … }`;
  return Array.isArray(schema.type) ? schema.type.join(' | ') : (schema.type ?? 'any');
}

function field(name: string, property: Schema, parent: Schema, indent: string): string {
  const optional = parent.required?.includes(name) ? '' : '?';
  const about = [property.description, limits(property)].filter(Boolean).join(' ');
  return `${indent}${name}${optional}: ${outline(property, indent)}${about === '' ? '' : `  // ${about}`}`;
}

function limits(schema: Schema): string {
  const low = schema.minimum ?? schema.minItems;
  const high = schema.maximum ?? schema.maxItems;
  // An upper bound is what callers run into.
  return high === undefined ? '' : `${low ?? 0} to ${high}`;
}
