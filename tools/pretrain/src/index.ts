export { charactersOf, classes } from './classes.ts';
export { type Dataset, loadDataset, split } from './dataset.ts';
export { type GlyphOptions, type Glyphs, renderGlyphs } from './glyphs.ts';
