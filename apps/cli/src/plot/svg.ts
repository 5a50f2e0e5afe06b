/** Just enough SVG: elements as strings. Coordinates are pixels, y downwards. */

type Attributes = Record<string, string | number | undefined>;

export function element(name: string, attributes: Attributes, content = ''): string {
  const list = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? round(value) : escapeXml(value!)}"`);
  return `<${name}${list.join('')}${content === '' ? '/>' : `>${content}</${name}>`}`;
}

export interface TextStyle {
  size?: number;
  color?: string;
  weight?: number;
  anchor?: 'start' | 'middle' | 'end';
}

export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { size = 13, color = '#1f2933', weight, anchor } = style;
  return element(
    'text',
    { x, y, 'font-size': size, fill: color, 'font-weight': weight, 'text-anchor': anchor },
    escapeXml(content),
  );
}

export function drawing(width: number, height: number, title: string, content: readonly string[]): string {
  const font = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: 'img',
      'font-family': font,
    },
    [
      '',
      element('title', {}, escapeXml(title)),
      element('rect', { width, height, fill: '#ffffff' }),
      ...content,
      '',
    ].join('\n'),
  );
}

const round = (value: number): string => String(Math.round(value * 100) / 100);

const escapeXml = (value: string): string =>
  value.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char]!);
