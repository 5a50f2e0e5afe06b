// Drawings as SVG, without the rest of the laboratory: they need no engine.
export { type Line, type LineChart, lineChart } from './line-chart.ts';
export { drawing, element, text } from './svg.ts';
